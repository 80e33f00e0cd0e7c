"""What ``pyproject.toml`` says of versions; ``python -m tests.versions`` runs the tests on them."""

from __future__ import annotations

import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement


def test_every_package_has_a_lowest_version(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, chain(project["dependencies"], *extras)):
        if requirement.name != project["name"]:
            assert [one.operator for one in requirement.specifier] == [">="], str(requirement)


@pytest.mark.parametrize("arguments", [[], ["--lowest", "--newest"]])
def test_which_versions_has_to_be_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.versions import main

    with pytest.raises(SystemExit):
        main(arguments)
    assert "--lowest" in capsys.readouterr().err
