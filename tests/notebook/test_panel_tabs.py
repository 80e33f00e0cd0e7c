"""A tab of a panel is told of in Python and in the page: both have the same."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from anywidget import AnyWidget

from conveyor_nb.notebook.panel.queue_view import TABS
from conveyor_nb.notebook.panel.view import View
from conveyor_nb.notebook.panel.widget import Panel


def test_the_page_has_the_tabs_of_the_queue_view() -> None:
    source = (files("conveyor_nb.notebook.panel") / "static" / "panel.js").read_text("utf-8")
    [tabs] = re.findall(r"makeTabs\(page, \{\n(.*?)\n +\}\)", source, flags=re.DOTALL)
    assert re.findall(r"^ +(\w+): make\(", tabs, flags=re.MULTILINE) == list(TABS)


@pytest.mark.parametrize("view", [view for tab in TABS.values() for view in tab])
def test_what_a_view_reads_goes_to_the_page(view: type[View]) -> None:
    assert {view.part, *view.apart.values()} <= set(Panel.class_trait_names(part=True))


def test_what_may_be_or_hold_none_goes_as_a_part_that_reaches_every_page() -> None:
    own = set(Panel.class_trait_names(sync=True)) - set(AnyWidget.class_trait_names())
    assert own - set(Panel.class_trait_names(part=True)) == {"mount", "ended", "frame"}
