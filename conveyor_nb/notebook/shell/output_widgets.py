"""``with out:`` in a handler fills that ``Output`` widget, whatever cell or job prints meanwhile.

ipywidgets lets the page send on to the widget all that comes of the running cell. A job is no
part of a cell: so within its ``with`` what it prints and displays is put into the widget from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

import ipywidgets

from conveyor_nb.context.runs import current_run
from conveyor_nb.core.values.text import error_line, fit
from conveyor_nb.notebook.repaint import Repainter

__all__ = ["Filling", "OutputHook", "adopt", "current_filling", "widget_of", "widget_text"]

_MOST_TEXT = 100_000
_MOST_OUTPUTS = 500
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_fillings: ContextVar[tuple[Filling, ...]] = ContextVar("conveyor_nb.fillings", default=())
_of_widgets: WeakKeyDictionary[ipywidgets.Output, Filling] = WeakKeyDictionary()
_adopted: WeakSet[ipywidgets.Output] = WeakSet()
_lock = threading.Lock()

_Outputs = list[dict[str, Any]]


def current_filling() -> Filling | None:
    """What takes the caller's prints within the ``with`` of a widget that a job fills."""
    fillings = _fillings.get()
    return fillings[-1] if fillings else None


class Filling:
    """What is printed and displayed within ``with out:``, on its way to the widget.

    The widget gets it ten times a second at most, on the loop's thread, and all of it at the end of
    the ``with``. It keeps the newest.

    Args:
        widget: the widget.
        loop: the loop of the job's worker.
    """

    def __init__(self, widget: ipywidgets.Output, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._widget = ref(widget)
        self._changes: deque[Callable[[_Outputs], None]] = deque()
        self._asked = False
        self._shown: dict[str, dict[str, Any] | None] = {}
        self._clears = False
        self._repainter = Repainter(self._apply)

    def write(self, text: str, source: str) -> None:
        """Take in what is printed, on any thread."""
        self._change(lambda outputs: _append_text(outputs, source, text))

    def display(
        self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, key: str | None
    ) -> None:
        """Take in what is displayed, or displayed anew under its key, on any thread."""
        shown = {"output_type": "display_data", "data": dict(data), "metadata": metadata or {}}

        def change(outputs: _Outputs) -> None:
            before = self._shown.get(key) if key else None
            if key in self._shown:
                self._shown[key] = shown
            if before in outputs:
                outputs[outputs.index(before)] = shown
            else:
                outputs.append(shown)

        if key:
            self._shown.setdefault(key, None)
            if len(self._shown) > _MOST_OUTPUTS:
                del self._shown[next(iter(self._shown))]
        self._change(change)

    def shows(self, key: str) -> bool:
        """Whether something was displayed under this key."""
        return key in self._shown

    def clear(self, wait: bool) -> None:
        """Empty the widget; with ``wait`` when something comes that takes the place."""
        if wait:
            self._clears = True
        else:
            self._change(list.clear)

    def fail(self, error: BaseException) -> None:
        """Show what was raised."""
        lines = traceback.format_exception(error)
        shown = {
            "output_type": "error",
            "ename": fit(type(error).__name__),
            "evalue": error_line(error),
            "traceback": [fit(line.rstrip("\n")) for line in lines],
        }
        self._change(lambda outputs: outputs.append(shown))

    def flush(self) -> None:
        """Let the widget have all that was taken in, on any thread."""
        if asyncio._get_running_loop() is self.loop:
            self._apply()
        else:
            self._call_soon(self._apply)

    def _change(self, change: Callable[[_Outputs], None]) -> None:
        if self._clears:
            self._clears = False
            self._changes.append(list.clear)
        self._changes.append(change)
        if not self._asked:
            self._asked = True
            self._call_soon(self._repainter.request)

    def _call_soon(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self.loop.call_soon_threadsafe(callback)

    def _apply(self) -> None:
        self._asked = False
        widget = self._widget()
        if widget is None or not self._changes:
            return
        outputs = [dict(one) for one in widget.outputs]
        while self._changes:
            self._changes.popleft()(outputs)
        widget.outputs = tuple(outputs[-_MOST_OUTPUTS:])


def _append_text(outputs: _Outputs, source: str, text: str) -> None:
    last = outputs[-1] if outputs else {}
    if last.get("output_type") != "stream" or last.get("name") != source:
        outputs.append(last := {"output_type": "stream", "name": source, "text": ""})
    last["text"] = (last["text"] + text)[-_MOST_TEXT:]


# -- with out: --------------------------------------------------------------------------------


class OutputHook:
    """Stands in for what ``with`` calls of an ``Output``, until it is released."""

    def __init__(self) -> None:
        kind = ipywidgets.Output
        enter, leave = kind.__enter__, kind.__exit__

        def enter_or_fill(widget: ipywidgets.Output) -> object:
            filling = _filling_of(widget)
            if filling is None:
                return enter(widget)
            _fillings.set((*_fillings.get(), filling))
            return None

        def leave_or_stop(
            widget: ipywidgets.Output,
            of_type: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> object:
            fillings = _fillings.get()
            if not fillings or fillings[-1] is not _of_widgets.get(widget):
                return leave(widget, of_type, error, trace)
            _fillings.set(fillings[:-1])
            if isinstance(error, Exception):
                fillings[-1].fail(error)
            fillings[-1].flush()
            return None  # in a cell the widget would keep the error; a job fails with it

        self._before = (enter, leave)
        self._now = (enter_or_fill, leave_or_stop)
        kind.__enter__, kind.__exit__ = self._now

    def release(self) -> None:
        """Put back what was there, unless others have put something of theirs in its place."""
        kind = ipywidgets.Output
        if (kind.__enter__, kind.__exit__) == self._now:
            kind.__enter__, kind.__exit__ = self._before


def adopt(widget: object, loop: asyncio.AbstractEventLoop) -> None:
    """Let a widget that a job has displayed be filled from here by all, such as its threads."""
    if isinstance(widget, ipywidgets.Output):
        _adopted.add(widget)
        _make_filling(widget, loop)


def _filling_of(widget: ipywidgets.Output) -> Filling | None:
    run = current_run()
    if run is not None:
        return _make_filling(widget, run.loop)
    return _of_widgets.get(widget) if widget in _adopted else None


def _make_filling(widget: ipywidgets.Output, loop: asyncio.AbstractEventLoop) -> Filling:
    with _lock:
        filling = _of_widgets.get(widget)
        if filling is None or filling.loop is not loop:
            filling = _of_widgets[widget] = Filling(widget, loop)
        return filling


# -- what a widget says -----------------------------------------------------------------------


def widget_of(data: Mapping[str, Any]) -> ipywidgets.Widget | None:
    """The widget that a display shows, if it shows one."""
    view = data.get(_WIDGET_VIEW)
    known = getattr(ipywidgets.widgets.widget, "_instances", {})
    return known.get(view.get("model_id")) if isinstance(view, dict) else None


def widget_text(widget: ipywidgets.Widget) -> str | None:
    """What a widget says now, as text; ``None``: nothing that text could say.

    Of a bar that was closed, nothing is left.
    """
    if isinstance(widget, ipywidgets.Output):
        return "".join(map(_output_text, widget.outputs)) if widget.comm else ""
    if isinstance(widget, ipywidgets.Box):
        texts = [widget_text(child) for child in widget.children]
        if all(text is None for text in texts):
            return None
        shown = widget.comm is not None and widget.layout.display != "none"
        return " ".join(text for text in texts if text) if shown else ""
    if isinstance(widget, (ipywidgets.HTML, ipywidgets.Label)):
        return " ".join(html.unescape(_TAG.sub("", str(widget.value))).split())
    return None


_TAG = re.compile(r"<[^>]*>")


def _output_text(output: Mapping[str, Any]) -> str:
    match output.get("output_type"):
        case "stream":
            return str(output.get("text", ""))
        case "error":
            return f"{output.get('evalue')}\n"
    data = output.get("data", {})
    return f"{str(data.get('text/plain', ', '.join(data))).rstrip()}\n"
