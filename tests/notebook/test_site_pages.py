"""What a page of the site shows is what happens: its blocks run, in order, as cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pages import PAGES, blocks_of

if TYPE_CHECKING:
    from .conftest import Kernel

ADDRESS = "postgresql://user@host/database"
"""A server as pages name it."""

RUN = ("python", "ipython")


def has_code(page: str) -> bool:
    return any(kind in RUN for kind, _ in blocks_of(page))


def without_blanks(text: str) -> list[str]:
    """The lines of a text without the blanks at their ends, which no page keeps."""
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", [page for page in PAGES if has_code(page)])
def test_the_blocks_of_a_page_run(
    page: str, loaded_kernel: Kernel, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kernel = loaded_kernel
    kernel.do("%reset -f\n%load_ext conveyor_nb\n%conveyor reset --ids sequential")
    kernel.do(f"import os; os.chdir({str(tmp_path)!r}); del os")
    blocks = list(blocks_of(page))
    dsn = ""
    if any(kind in RUN and ADDRESS in text for kind, text in blocks):
        dsn = request.getfixturevalue("postgres_dsn")
        kernel.do(f"import conveyor_nb\nasync with conveyor_nb.open_store({dsn!r}): ...")
    said = ""
    for kind, text in blocks:
        if kind in RUN:
            ran = kernel.do(text.replace(ADDRESS, dsn) if dsn else text)
            shown = "".join(one.get("text/plain", "") for one in ran.shown)
            said = ran.out + shown
        elif kind == "text":
            assert without_blanks(said) == without_blanks(text)
    kernel.do("%conveyor reset")
