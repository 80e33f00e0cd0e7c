"""A job's prints go to its log, and to no cell.

What a task prints goes, in a kernel, to the output of the cell that started the task; with
workers that is anybody's. So while the extension is loaded, the kernel's streams and its display
look for the run of a job that the caller belongs to (``conveyor_nb.running.current_job``), and give
what is printed there to that job's log. ``logging`` and ``warnings`` come through the streams: a
job's log shows of them what a cell would have shown. All other prints go where they always went.

A thread that a handler starts by itself, and what writes past Python's streams, can't be told from
the rest of the notebook.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import getpass
import io
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from IPython.core.async_helpers import get_asyncio_loop
from IPython.core.interactiveshell import InteractiveShell

from conveyor_nb.context.runs import Run, current_run
from conveyor_nb.notebook.shell.job_output import JobOutput
from conveyor_nb.notebook.shell.output_widgets import (
    Filling,
    OutputHook,
    adopt,
    current_filling,
    widget_of,
    widget_text,
)

__all__ = ["Capture"]


class Capture:
    """Gives what jobs print to their logs, until it is closed.

    A batch's prints go to the log of each of its jobs. What a job displays is logged as its plain
    text; if it may still change, such as a bar of widgets or what has a ``display_id``, at the end
    of the run. Within ``with out:`` all goes to that ``Output`` widget. A job clears no output but
    what it has printed itself and is not in its log yet, and there is nobody to answer ``input()``.

    Args:
        shell: whose display is looked after, besides ``sys.stdout`` and ``sys.stderr``.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._hooks: WeakSet[_Hook] = WeakSet()
        self._depth = 0  # how many cells have begun, as a cell may run others
        self._closed = False
        self._output_hook = OutputHook()
        self.watch()
        # IPython, `%%capture` and the like put others in their place while a cell runs
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._shell.events.register("post_run_cell", self._end_cell)

    def watch(self) -> None:
        """Hook the streams and the display that are in place now."""
        if self._closed:
            return
        self._hook(sys.stdout, "write", functools.partial(_print, "stdout"))
        self._hook(sys.stderr, "write", functools.partial(_print, "stderr"))
        self._hook(self._shell.display_pub, "publish", _display)
        self._hook(self._shell.display_pub, "clear_output", _clear)
        self._hook(builtins, "input", _ask)
        self._hook(getpass, "getpass", _ask)

    def close(self) -> None:
        """Leave streams and display as they were."""
        self._closed = True
        self._shell.events.unregister("pre_run_cell", self._begin_cell)
        self._shell.events.unregister("post_run_cell", self._end_cell)
        self._output_hook.release()
        for hook in self._hooks:
            hook.release()
        self._hooks.clear()

    def _begin_cell(self, *_: object) -> None:
        self._depth += 1
        self.watch()

    def _end_cell(self, *_: object) -> None:
        """Hook what is in place when the cell has ended and the loop goes on."""
        self._depth = max(0, self._depth - 1)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # in a terminal the prompt runs it
            loop = get_asyncio_loop()
        loop.call_soon(self.watch)

    def _hook(self, target: object, name: str, take: _Taker) -> None:
        if isinstance(target, io.StringIO) and self._depth < 2:
            return  # not that of a cell in `%%capture`, but what a handler itself redirects to
        with contextlib.suppress(TypeError, AttributeError):  # this kind can't be hooked
            hook = vars(target).get(name)
            if hook not in self._hooks:
                if not isinstance(hook, _Hook):
                    hook = _Hook(target, name, take)
                hook.users += 1
                self._hooks.add(hook)


# -- what becomes of a print ------------------------------------------------------------------


class _Log:
    """What is printed and displayed in a run goes to the log of each of its jobs."""

    def __init__(self, run: Run) -> None:
        self._outputs = tuple(JobOutput(job, run.loop) for job in run.jobs)
        self._loop = run.loop

    def write(self, text: str, source: str) -> None:
        for output in self._outputs:
            output.write(text, source)

    def display(
        self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, key: str | None
    ) -> None:
        told = data.get("text/plain")
        text = str(", ".join(data) if told is None else told)
        read: Callable[[], str] = lambda: text  # noqa: E731
        widget = widget_of(data)
        if widget is not None and widget_text(widget) is not None:
            adopt(widget, self._loop)
            key = key or widget.model_id
            read = lambda: widget_text(widget) or ""  # noqa: E731
        for output in self._outputs:
            output.show(read, key)

    def shows(self, key: str) -> bool:
        return any(output.shows(key) for output in self._outputs)

    def clear(self, wait: bool) -> None:
        for output in self._outputs:
            output.clear()


_Sink = _Log | Filling
_Taker = Callable[..., object]
"""Called in place of a method: with where it goes, the method itself, and its arguments."""

_logs: WeakKeyDictionary[Run, _Log] = WeakKeyDictionary()
_lock = threading.Lock()


def _sink() -> _Sink | None:
    """Where what the caller prints goes, if not to the notebook."""
    if (filling := current_filling()) is not None:
        return filling
    run = current_run()
    if run is None or not run.captured:
        return None
    log = _logs.get(run)
    if log is None:
        with _lock:
            log = _logs.get(run)
            if log is None:
                log = _logs[run] = _Log(run)
    return log


def _print(source: str, sink: _Sink, _: _Taker, text: str) -> int:
    if not isinstance(text, str):
        raise TypeError(f"write() argument must be str, not {type(text).__name__}")
    sink.write(text, source)
    return len(text)


def _display(
    sink: _Sink,
    publish: _Taker,
    data: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    source: str | None = None,
    *,
    transient: Mapping[str, Any] | None = None,
    update: bool = False,
    **options: Any,
) -> object:
    key: str | None = (transient or {}).get("display_id")
    if update and (
        key is None or not sink.shows(key)
    ):  # it was displayed elsewhere, and is changed there now
        return publish(data, metadata, transient=transient, update=update, **options)
    sink.display(data, metadata, key)
    return None


def _clear(sink: _Sink, _: _Taker, wait: bool = False) -> None:
    sink.clear(wait)


def _ask(*_: object, **__: object) -> str:
    raise EOFError("a job has nobody to ask; what it needs goes into its payload, job.data")


# -- hooks ------------------------------------------------------------------------------------


class _Hook:
    """Stands in for a method of one object, and passes on all calls but those of captured runs.

    The method is replaced on the object itself, as others may hold on to it: a handler of
    ``logging``, for instance, keeps the stream that it was made with.
    """

    def __init__(self, target: object, name: str, take: _Taker) -> None:
        self.users = 0
        self._target = target
        self._name = name
        self._take = take
        self._original: Callable[..., object] = getattr(target, name)
        self._attribute = vars(target).get(name)  # none: its class has the method
        setattr(target, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        sink = _sink() if self.users else None
        if sink is None:
            return self._original(*args, **kwargs)
        return self._take(sink, self._original, *args, **kwargs)

    def release(self) -> None:
        """Count one user less; without any, put the method back.

        If others have put something of theirs in its place meanwhile, it stays, and does nothing.
        """
        self.users -= 1
        if self.users or vars(self._target).get(self._name) is not self:
            return
        if self._attribute is None:
            delattr(self._target, self._name)
        else:
            setattr(self._target, self._name, self._attribute)
