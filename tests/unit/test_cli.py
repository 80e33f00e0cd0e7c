"""The command line, as far as it goes without a kernel or a server."""

from __future__ import annotations

import mimetypes
import shutil
import socket
import subprocess
import sys
import webbrowser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from conveyor_nb.cli import docs, errors, lab, main, notebooks, serving
from conveyor_nb.cli.children import run_child
from conveyor_nb.cli.demo import summary
from conveyor_nb.cli.errors import CommandError
from conveyor_nb.cli.lite import _call, build_lite
from conveyor_nb.cli.serving import Place
from conveyor_nb.cli.tally import QueueTally

INSTALL = 'python -m pip install -e ".[lab]"'


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "my notebook.ipynb"
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must fail, and return the one line that it says."""
    assert main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("conveyor_nb: ").rstrip("\n")


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ("", "required: COMMAND"),
            ("dance", "invalid choice: 'dance'"),
            ("lab --port 0", "a port is a number from 1 to 65535, not '0'"),
            ("lab --port 65536", "not '65536'"),
            ("lab --port -1", "not '-1'"),
            ("lab --port http", "not 'http'"),
            ("lab --ip everywhere", "0.0.0.0 for all that this computer has; not 'everywhere'"),
            ("dashboard --ip 1.2.3", "an address is written like 192.168.1.5"),
            ("dashboard --port 0", "a port is a number from 1 to 65535, not '0'"),
            ("lab a.ipynb b.ipynb", "unrecognized arguments: b.ipynb"),
            ("demo --output", "expected one argument"),
        ],
    )
    def test_a_wrong_one_is_named(
        self, arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(arguments.split())
        assert exit_.value.code == 2
        assert complaint in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["lab", "dashboard", "demo"])
    def test_each_command_explains_itself(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        assert "NOTEBOOK" in capsys.readouterr().out

    def test_python_m_runs_it(self) -> None:
        command = [sys.executable, "-m", "conveyor_nb", "--help"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert result.stdout.startswith("usage: python -m conveyor_nb")


@pytest.mark.parametrize("command", ["lab", "dashboard", "demo"])
class TestNotebooks:
    def test_a_missing_one_is_named(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        missing = tmp_path / "none.ipynb"
        assert fails(capsys, command, missing) == f"there is no notebook {missing}"

    def test_another_file_is_refused(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (other := tmp_path / "notes.txt").touch()
        assert fails(capsys, command, other) == (
            f"{other} is not a notebook: its name must end in .ipynb"
        )

    def test_a_missing_package_is_told_with_its_cure(
        self,
        command: str,
        notebook: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("jupyterlab.labapp", "voila.app", "nbclient"):
            monkeypatch.setitem(sys.modules, name, None)
        complaint = fails(capsys, command, notebook)
        assert "which is not installed" in complaint
        assert INSTALL in complaint


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and a package that runs from no checkout."""
    home = tmp_path / "site-packages" / "_notebooks"
    for name in ("01_quickstart.ipynb", "02_more.ipynb", "images/a.png", "site/conf.py"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    for module in (notebooks, errors):
        monkeypatch.setattr(module, "find_checkout", lambda: None)
    monkeypatch.setattr(notebooks, "PACKAGE", home.parent)
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    return here


class TestOutsideACheckout:
    def test_the_notebooks_are_copied_to_where_they_are_not_yet(
        self, installed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        quick_start = installed / "conveyor_notebooks" / "01_quickstart.ipynb"
        assert notebooks.find_notebook(None) == quick_start
        assert capsys.readouterr().out == f"2 notebooks copied to {quick_start.parent}\n"
        copied = {path.name for path in quick_start.parent.rglob("*") if path.is_file()}
        assert copied == {"01_quickstart.ipynb", "02_more.ipynb", "a.png"}

        quick_start.write_text("mine")
        (quick_start.parent / "02_more.ipynb").unlink()
        assert notebooks.find_notebook(None) == quick_start
        assert quick_start.read_text() == "mine"
        assert capsys.readouterr().out.endswith(
            f"1 notebook copied to {quick_start.parent}; 1 was there already and stays as it is\n"
        )

    def test_they_go_to_a_folder_of_ones_own_choice(self, installed: Path) -> None:
        mine = Path("mine", "queues")
        assert notebooks.find_notebook(None, mine) == installed / mine / "01_quickstart.ipynb"

    def test_what_is_only_read_is_not_copied(self, installed: Path) -> None:
        assert notebooks.find_notebook(None, is_read=True).read_text() == "01_quickstart.ipynb"
        assert list(installed.iterdir()) == []

    def test_a_folder_that_can_not_be_made_is_told(
        self, installed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (taken := installed / "taken").touch()
        told = fails(capsys, "lab", "--no-browser", "--folder", taken / "in")
        assert told == (
            f"the notebooks can't be copied to {taken / 'in'}: Not a directory; "
            "name another folder with --folder"
        )

    @pytest.mark.usefixtures("installed")
    def test_what_is_missing_is_installed_by_the_packages_name(
        self,
        notebook: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sys.modules, "nbclient", None)
        assert fails(capsys, "demo", notebook).endswith('pip install "conveyor_nb[lab]"')

    def test_a_notebook_and_a_folder_are_one_too_many(
        self, notebook: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = fails(capsys, "lab", "--no-browser", "--folder", "there", notebook)
        assert told == "say which notebook, or which --folder, not both"


class TestDocs:
    def test_a_missing_package_is_told_with_its_cure(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(docs, "find_spec", lambda name: None)
        told = fails(capsys, "docs", "--no-serve")
        assert told == (
            'the site needs sphinx, which is not installed; run: python -m pip install -e ".[docs]"'
        )

    def test_files_that_are_no_site_are_not_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built: list[Path] = []
        monkeypatch.setattr(docs, "find_spec", lambda name: True)
        monkeypatch.setattr(docs, "_build_pages", lambda home, output, live: built.append(output))
        docs.build_site(tmp_path / "new", live=False)
        docs.build_site(tmp_path, live=False)
        (tmp_path / "live").mkdir()
        with pytest.raises(CommandError, match="has files that are no site of ours; name a new"):
            docs.build_site(tmp_path, live=False)
        (tmp_path / ".buildinfo").touch()
        docs.build_site(tmp_path, live=False)
        assert built == [tmp_path / "new", tmp_path, tmp_path]

    def test_a_port_that_was_taken_meanwhile_is_told(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(CommandError, match=f"port {port} is in use; name another"):
                docs.serve_until_interrupted(tmp_path, port, opens_browser=False)

    def test_scripts_are_served_as_such_whatever_the_machine_takes_them_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mimetypes, "guess_type", lambda *_, **__: ("text/plain", None))
        handler = docs._Quiet.__new__(docs._Quiet)
        assert handler.guess_type("live/pyodide.mjs") == "text/javascript"
        assert handler.guess_type("live/pyodide.asm.wasm") == "application/wasm"

    def test_a_step_that_fails_is_told_with_what_it_said_last(self) -> None:
        with pytest.raises(CommandError, match=r"-c .* ended with 3: it said nothing$"):
            _call(sys.executable, "-c", "raise SystemExit(3)")
        with pytest.raises(CommandError, match=r"ended with 1: no such wheel$"):
            _call(sys.executable, "-c", "raise SystemExit('looking\\nno such wheel')")

    def test_what_a_step_says_is_read_whatever_the_machines_encoding(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
        code = "import sys; print('é ✓'); sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff')"
        assert run_child([sys.executable, "-c", code]).stdout.split() == ["é", "✓", "\ufffd"]

    def test_live_pages_without_a_network_need_npm(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(CommandError, match="gets Pyodide by npm, which is not installed"):
            build_lite([], tmp_path, tmp_path / "live", offline=True)


class TestDemo:
    def test_a_file_that_is_no_notebook_is_told(
        self, notebook: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        notebook.write_text("not JSON")
        assert "can't be read as a notebook" in fails(capsys, "demo", notebook)

    def test_a_missing_folder_is_told_before_anything_runs(
        self, notebook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "none" / "page.html"
        assert fails(capsys, "demo", "--output", output, notebook) == (
            f"there is no folder {output.parent} to write page.html to"
        )

    def test_the_summary_has_a_row_for_each_queue(self) -> None:
        tallies = [
            QueueTally(1, "emails", {"failed": 1, "completed": 10}, attempts=13),
            QueueTally(1, "reports", {"waiting": 2}, attempts=0),
        ]
        Console(file=(screen := StringIO()), width=80).print(summary(tallies))
        rows = [line.strip("┏┃│└ ").split() for line in screen.getvalue().splitlines()]
        assert ["queue", "┃", "waiting", "┃", "completed", "┃", "failed"] in [r[:7] for r in rows]
        assert ["emails", "│", "0", "│", "10", "│", "1", "│", "11", "│", "13"] in rows
        assert ["reports", "│", "2", "│", "0", "│", "0", "│", "2", "│", "0"] in rows

    def test_a_notebook_without_jobs_is_said_to_have_none(self) -> None:
        tallies = [QueueTally(1, "[red]x[/] [/] \u202e", {"waiting": 1}, attempts=0)]
        Console(file=(screen := StringIO()), width=80).print(summary(tallies))
        assert r"[red]x[/] [/] \u202e" in screen.getvalue()

        assert summary([]) == "The notebook left no jobs to sum up."


@pytest.mark.parametrize("command", ["lab", "dashboard"])
class TestPlace:
    def test_a_port_in_use_is_told_before_anything_is_started(
        self, command: str, notebook: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            told = fails(capsys, command, "--no-browser", "--port", str(port), notebook)
        assert told == f"port {port} is in use; name another with --port, or none for a free one"

    def test_an_address_of_another_computer_is_told(
        self, command: str, notebook: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = fails(capsys, command, "--no-browser", "--ip", "192.0.2.1", notebook)
        assert told == "this computer has no address 192.0.2.1; --ip 0.0.0.0 stands for all it has"


class TestAddresses:
    def test_one_that_is_open_to_others_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        Place("0.0.0.0", token="t").announce("The page", "", 9000)
        told = capsys.readouterr().out
        assert told.startswith("The page is ready; Ctrl-C ends it.")
        assert "    http://127.0.0.1:9000/?token=t\n" in told
        assert f"    http://{socket.gethostname()}:9000/?token=t\n" in told
        assert "can run code here" in told

    def test_one_for_this_computer_alone_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        Place(token="t").announce("The page", "", 9000)
        told = "The page is ready on this computer; Ctrl-C ends it.\n\n    http://127.0.0.1:9000/"
        assert capsys.readouterr().out == f"{told}?token=t\n\n"

    def test_an_address_of_the_longer_kind_is_written_in_brackets(self) -> None:
        place = Place("::1", token="t")
        assert not place.is_open
        assert place.addresses("lab", 9000) == ["http://[::1]:9000/lab?token=t"]

    def test_each_has_a_token_of_its_own(self) -> None:
        assert len(Place().token) == 48
        assert Place().token != Place().token


class TestLab:
    def arguments(self, notebook: Path, port: int | None = None) -> list[str]:
        return lab.server_arguments(notebook, Place(port=port), opens_browser=False)

    def test_it_listens_on_this_computer_only_if_not_told_otherwise(self, notebook: Path) -> None:
        assert "--ServerApp.ip=127.0.0.1" in self.arguments(notebook)
        elsewhere = lab.server_arguments(notebook, Place("0.0.0.0"), opens_browser=False)
        assert "--ServerApp.ip=0.0.0.0" in elsewhere

    def test_it_opens_on_the_notebook(self, notebook: Path) -> None:
        arguments = self.arguments(notebook)
        assert f"--ServerApp.root_dir={notebook.parent}" in arguments
        assert "--LabApp.default_url=/lab/tree/my%20notebook.ipynb" in arguments

    def test_a_port_that_was_asked_for_is_the_only_one_tried(self, notebook: Path) -> None:
        retries = "--ServerApp.port_retries=0"
        assert retries in self.arguments(notebook, port=9000)
        assert "--ServerApp.port=9000" in self.arguments(notebook, port=9000)
        assert retries not in self.arguments(notebook)

    @pytest.mark.parametrize("root", [True, False])
    def test_only_root_is_allowed_as_root(
        self, root: bool, notebook: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "is_root", lambda: root)
        assert ("--allow-root" in self.arguments(notebook)) is root

    @pytest.mark.parametrize(
        ("root", "display", "found", "expected"),
        [
            (False, ":0", True, True),
            (True, ":0", True, False),
            (False, "", True, False),
            (False, ":0", False, False),
        ],
    )
    def test_a_browser_needs_a_user_a_screen_and_a_program(
        self,
        root: bool,
        display: str,
        found: bool,
        expected: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def get() -> None:
            if not found:
                raise webbrowser.Error("could not locate runnable browser")

        monkeypatch.setattr(serving, "is_root", lambda: root)
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(webbrowser, "get", get)
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert serving.has_browser() is expected
