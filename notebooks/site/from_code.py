"""What the site says that stands in the code: tables of options, events, magics and commands.

As an extension of Sphinx it has the directive ``from-code``, which puts a table into a page, links
from each public name to the notebooks that use it, and the way from a notebook's page to the same
notebook live in the browser.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import conveyor_nb
from conveyor_nb.cli import VERBS, build_parser
from conveyor_nb.cli.lite import is_live
from conveyor_nb.core import event_data
from conveyor_nb.core.event_data import EVENT_DATA
from conveyor_nb.core.options.declaring import Options
from conveyor_nb.core.options.job_options import JobKeywords, JobOptions
from conveyor_nb.core.options.worker_options import WorkerKeywords, WorkerOptions
from conveyor_nb.notebook.commands.commands import Argument
from conveyor_nb.notebook.commands.magics import COMMANDS, WORKER_ARGUMENTS
from conveyor_nb.notebook.commands.record_command import RECORD_ARGUMENTS
from conveyor_nb.notebook.pictures.svg import dark_rules, image_rules
from conveyor_nb.worker import Worker

__all__ = ["TABLES", "setup", "users_of"]

NOTEBOOKS = Path(__file__).resolve().parents[1]


# -- tables -----------------------------------------------------------------------------------


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    r"""A table of Markdown.

    >>> print(table("name what", [("a", "x | y")]))
    | name | what |
    |---|---|
    | a | x \| y |
    """
    columns = head.split(" ")
    lines = [columns, ["---"] * len(columns)]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    head_line, rule, *body = (f"| {' | '.join(line)} |" for line in [*lines, *cells])
    return "\n".join([head_line.replace("_", " "), rule.replace(" ", ""), *body])


def code(text: object) -> str:
    """A piece of code, or that there is none.

    >>> code("x"), code(None)
    ('`x`', 'none')
    """
    return "none" if text is None or text == "" else f"`{text}`"


def markdown(docstring: str) -> str:
    """What a docstring says, in Markdown.

    >>> markdown("a :class:`Keep`, or ``True``; see :func:`~a.b`")
    'a `Keep`, or `True`; see `b`'
    """
    plain = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", docstring)
    return re.sub(r"\s+", " ", plain.replace("``", "`")).strip()


def arguments_of(documented: object) -> dict[str, str]:
    """What the docstring of a class says of its arguments, by name."""
    text = (documented.__doc__ or "").partition("Args:\n")[2]
    section = re.split(r"\n\n(?! {8})", text)[0]
    found = re.split(r"^ {8}(?! )([\w, ]+): ", section, flags=re.MULTILINE)[1:]
    pairs = zip(found[::2], found[1::2], strict=True)
    return {name: markdown(said) for names, said in pairs for name in names.split(", ")}


def options_table(
    kind: type[Options], keywords: Mapping[str, Any], documented: object
) -> Iterator[tuple[str, ...]]:
    """A row for each option: its name, what it takes, its default, what it does."""
    said = arguments_of(documented)
    fields: Any = kind  # which mypy doesn't take for a dataclass
    for field in dataclasses.fields(fields):
        typed = keywords[field.name]
        yield (
            code(field.name),
            code(getattr(typed, "__forward_arg__", typed)),
            code(None if field.default is dataclasses.MISSING else field.default),
            said[field.name],
        )


def event_rows() -> Iterator[tuple[str, ...]]:
    """A row for each type of event: when it comes, and what its data holds."""
    said = ModuleAnalyzer.for_module(event_data.__name__)
    said.analyze()
    tree = ast.parse(Path(str(event_data.__file__)).read_text(encoding="utf-8"))
    classes = [one for one in tree.body if isinstance(one, ast.ClassDef)]
    bases = {one.name: [ast.unparse(base) for base in one.bases] for one in classes}

    def told(owner: str, key: str) -> str:
        own = said.attr_docs.get((owner, key))
        inherited = (told(base, key) for base in bases.get(owner, ()))
        return " ".join(own) if own else next(filter(None, inherited), "")

    for kind, data in EVENT_DATA.items():
        keys = [
            f"`{key}`{' (not always)' * ('NotRequired' in str(typed))}"
            + (f": {markdown(text).rstrip('.')}" if (text := told(data.__name__, key)) else "")
            for key, typed in data.__annotations__.items()
        ]
        yield code(kind), markdown(data.__doc__ or ""), "<br>".join(keys) or "none"


def arguments_table(arguments: Iterable[Argument]) -> str:
    """A table of what a magic takes."""
    return table("argument what_it_is", [(code(one.name), one.help) for one in arguments])


def magics() -> Iterator[str]:
    """A section for each command of ``%conveyor``."""
    for one in COMMANDS.values():
        yield section(
            f"%conveyor {one.usage}",
            f"{one.summary}.",
            [(argument.name, argument.help) for argument in one.arguments],
            f"```ipython\n{one.example}\n```",
        )


def shell_commands() -> Iterator[str]:
    """A section for each command of a shell, but for those that ``%conveyor`` has too."""
    for name, told, parser in _commands():
        if name not in VERBS:
            given = [
                (one.option_strings[0] if one.option_strings else str(one.metavar), one.help or "")
                for one in parser._actions
                if one.dest != "help" and one.help != argparse.SUPPRESS
            ]
            description = (parser.description or told).strip()
            yield section(f"python -m conveyor_nb {name}", description, given)


def section(title: str, said: str, arguments: list[tuple[str, str]], example: str = "") -> str:
    """A heading, what there is to say, and a table of arguments."""
    rows = [(code(name), told) for name, told in arguments]
    parts = [f"## `{title}`", said, example, table("argument what_it_is", rows) if rows else ""]
    return "\n\n".join(filter(None, parts))


def verb_rows() -> Iterator[tuple[str, ...]]:
    """A row for each command of ``%conveyor`` that a shell has too."""
    for name, said in VERBS.items():
        yield code(COMMANDS[name].usage), said


def _commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each command of a shell: its name, what it does in short, and its parser."""
    [made] = (one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    for one in made._choices_actions:
        yield one.dest, one.help or "", made.choices[one.dest]


TABLES: Mapping[str, Callable[[], str]] = {
    "job-options": lambda: table(
        "option takes default meaning",
        options_table(JobOptions, JobKeywords.__annotations__, JobOptions),
    ),
    "worker-options": lambda: table(
        "option takes default meaning",
        options_table(WorkerOptions, WorkerKeywords.__annotations__, Worker),
    ),
    "events": lambda: table("event when_it_comes its_data", event_rows()),
    "magics": lambda: "\n\n".join(magics()),
    "worker-cell": lambda: arguments_table(WORKER_ARGUMENTS),
    "record-cell": lambda: arguments_table(RECORD_ARGUMENTS),
    "commands": lambda: "\n\n".join(shell_commands()),
    "verbs": lambda: table("command what_it_does", verb_rows()),
}
"""What a page may have of this, by name."""


class FromCode(SphinxDirective):
    """Puts one of ``TABLES`` into the page; sections go below the heading above it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """It, read as Markdown."""
        text = TABLES[self.arguments[0]]()
        made = self.parse_text_to_nodes(text, allow_section_headings=True)
        for node in made:
            for one in node.findall(nodes.table):
                one["classes"].append("from-code")
        return made


# -- links from names to notebooks ------------------------------------------------------------


_RUNS = re.compile(r"^```i?python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def _sources() -> dict[str, tuple[str, str]]:
    """The notebooks and the pages by what Sphinx calls them: the title of each, and its code."""
    found = {}
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = [(one["cell_type"], "".join(one["source"])) for one in cells]
        title = next((text for kind, text in texts if kind == "markdown"), "").partition("\n")[0]
        code_of = "\n".join(text for kind, text in texts if kind == "code")
        found[path.stem] = (title.lstrip("# "), code_of)
    for path in sorted(NOTEBOOKS.glob("howto/*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].lstrip("# ")
        found[f"howto/{path.stem}"] = (title, "\n".join(_RUNS.findall(text)))
    return found


_KNOWN_AS = {"load_ipython_extension": "load_ext", "unload_ipython_extension": "load_ext"}
"""Names that nobody writes, and what people write in their place."""


def users_of(name: str) -> dict[str, str]:
    """The notebooks, and the pages, whose code has a name in it, with their titles."""
    wanted = re.compile(rf"\b{re.escape(_KNOWN_AS.get(name, name))}\b")
    sources = _sources().items()
    return {page: title for page, (title, text) in sources if wanted.search(text)}


MOST_USERS = 4
"""More are no help."""


def add_users(_: Sphinx, what: str, name: str, __: object, ___: object, lines: list[str]) -> None:
    """Say below the docstring of a public name where it is at work."""
    short = name.rpartition(".")[2]
    if what not in ("class", "function", "exception") or short not in conveyor_nb.__all__:
        return
    if users := users_of(short):
        some = list(users.items())[:MOST_USERS]
        links = ", ".join(f":doc:`{title} </{page}>`" for page, title in some)
        lines += ["", f"At work in {links}.", ""]


# -- notebooks --------------------------------------------------------------------------------

LIVE = """\
:::{{admonition}} This page runs
:class: live
<a href="{address}" target="_blank" rel="noopener">Run it in your browser</a>: nothing to
install, and no server. It starts in some seconds. Or open it with `python -m conveyor_nb lab`.
:::
"""


def prepare_notebook(app: Sphinx, page: str, source: list[str]) -> None:
    """Make a notebook's code IPython's, its pictures a part of the page, and lead to it live."""
    if not str(app.env.doc2path(page)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    notebook["metadata"].setdefault("language_info", {})["pygments_lexer"] = "ipython3"
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            # as a part of the page a picture follows its theme; as an image, the system's alone
            if svg := output.get("data", {}).pop("image/svg+xml", None):
                output["data"]["text/html"] = svg
    if app.config.live_pages and is_live(notebook):
        first = notebook["cells"][0]
        title, _, rest = "".join(first["source"]).partition("\n")
        address = f"{app.config.live_pages}/notebooks/index.html?path={page}.ipynb"
        first["source"] = f"{title}\n\n{LIVE.format(address=address)}\n{rest}"
    source[0] = json.dumps(notebook)


def darken_pictures(_: Sphinx, __: str, ___: str, context: dict[str, Any], ____: object) -> None:
    """Let the pictures in a page be dark where the page is."""
    chosen = dark_rules('body[data-theme="dark"]')
    by_system = dark_rules('body:not([data-theme="light"])')
    images = image_rules('body[data-theme="dark"]', 'body[data-theme="light"]')
    style = f"{chosen}@media (prefers-color-scheme: dark){{{by_system}}}{images}"
    context["metatags"] = f"{context.get('metatags', '')}<style>{style}</style>"


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("from-code", FromCode)
    app.add_config_value("live_pages", "", "env", str)
    app.connect("autodoc-process-docstring", add_users)
    app.connect("html-page-context", darken_pictures)
    app.connect("source-read", prepare_notebook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
