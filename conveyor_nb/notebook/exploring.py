"""``explore``: an experiment under some knobs, which runs again when one is turned.

What ``ipywidgets.interact`` is for functions, for what has to be awaited. The result stands in the
cell's output as any other does: a saved notebook keeps it, and it is seen without a kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import display, publish_display_data

from conveyor_nb.clocks.loops import call_on
from conveyor_nb.clocks.tasks import BackgroundTasks
from conveyor_nb.core.cell_reruns import current_origin
from conveyor_nb.core.errors import FAULTS
from conveyor_nb.core.values.checks import reject_unknown
from conveyor_nb.core.values.text import error_line, one_line, shown
from conveyor_nb.notebook.host import Host, host_of, loop_of_cells
from conveyor_nb.notebook.markup import Markup, as_page, tag

__all__ = ["close_explorations", "explore"]

_MOST_SHOWN = 12


async def explore(experiment: Callable[..., Any], /, **knobs: Any) -> None:
    """Run an experiment, show what it returns, and run it again when a knob is turned.

    In a live notebook each knob is a slider, or whatever widget fits. Where nobody can turn one (a
    saved notebook, nbconvert) it is told where it stands, and the result is there all the same.

    Args:
        experiment: an async function, or a plain one, that takes the knobs as keywords. What it
            returns is shown; one that runs on a ``VirtualClock`` is done at once.
        knobs: by the name of the argument, its choices: a list or a ``range``, or what
            ``ipywidgets.interact`` takes, such as ``(0, 10)`` or a widget. It begins at the
            argument's default if it has one, else with the first.

    Raises:
        TypeError: it is no function, a knob is no argument of its, or stands for no widget.
        ValueError: a default is not among the choices.

    >>> import asyncio
    >>> async def experiment(slots=5):
    ...     return f"100 jobs of 2 s take {100 * 2 / slots:g} s"
    >>> asyncio.run(explore(experiment, slots=[1, 5, 50]))
    slots: 1 · [5] · 50
    '100 jobs of 2 s take 40 s'
    """
    if not callable(experiment):
        raise TypeError(f"explore takes a function, not {shown(experiment)}")
    parameters = inspect.signature(experiment).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        reject_unknown(knobs, frozenset(parameters), what="argument of the experiment")
    is_live = get_ipython() is not None and host_of(get_ipython()) is not Host.FILE
    defaults = {name: one.default for name, one in parameters.items()}
    exploration, goes_on = _Exploration(experiment, is_live=is_live), False
    try:
        for name, choices in knobs.items():
            exploration.knobs.append(
                _knob(name, choices, defaults.get(name, _NONE), is_live=is_live)
            )
        await exploration.begin()
        goes_on = is_live
    finally:
        if not goes_on:
            exploration.close()


def close_explorations() -> None:
    """Let go of the knobs of every experiment: for when the extension is unloaded."""
    while _explorations:
        _explorations[-1].close()


_NONE = inspect.Parameter.empty


class _Knob:
    """A widget, and what of it is told where there is none.

    Args:
        name: the argument's name.
        widget: gives its value.
        choices: all that it may be, if they are few.
        is_given: the widget is the caller's own.
    """

    def __init__(
        self, name: str, widget: Any, choices: list[Any] | None, *, is_given: bool = False
    ) -> None:
        self.name, self.widget, self.choices = name, widget, choices
        self._is_given = is_given

    def close(self) -> None:
        """Close the widget, if it was made here."""
        if not self._is_given:
            _close(self.widget)

    @property
    def value(self) -> Any:
        return self.widget.value

    def told(self, mark: Callable[[str], str]) -> list[str]:
        """Its name and its choices, with a mark at the one at which it stands."""
        if self.choices is None or len(self.choices) > _MOST_SHOWN:
            return [f"{self.name}: ", mark(one_line(str(self.value), 60))]
        parts = [f"{self.name}: "]
        for place, choice in enumerate(self.choices):
            text = one_line(str(choice), 60)
            parts += [" · " * bool(place), mark(text) if choice == self.value else text]
        return parts


@dataclass(frozen=True, slots=True)
class _Fixed:
    """In place of a widget that nobody would see."""

    value: Any


def _knob(name: str, given: Any, default: Any, *, is_live: bool) -> _Knob:
    """The widget for an argument."""
    if isinstance(given, ipywidgets.Widget):
        return _Knob(name, given, None, is_given=True)
    look = {"description": name, "style": {"description_width": "initial"}}
    if isinstance(given, (list, range)):
        choices = list(given)
        if not choices:
            raise ValueError(f"explore: {name} has no choices")
        value = choices[0] if default is _NONE else default
        if value not in choices:
            raise ValueError(
                f"explore: {name} begins at its default, {shown(value)}, which is none of its "
                f"choices {shown(choices)}"
            )
        if not is_live:
            return _Knob(name, _Fixed(value), choices)
        options = [(one_line(str(choice), 60), choice) for choice in choices]
        widget = ipywidgets.SelectionSlider(
            options=options, value=value, continuous_update=False, **look
        )
        return _Knob(name, widget, choices)
    widget = ipywidgets.interactive.widget_from_abbrev(given, default)
    if widget is None:
        raise TypeError(
            f"explore: {name} takes a list of choices, a range, or what ipywidgets.interact takes, "
            f"such as (0, 10), not {shown(given)}"
        )
    widget.description, widget.style.description_width = name, "initial"
    return _Knob(name, widget, None)


def _close(widget: Any) -> None:
    """Close a widget, with those that tell how it looks."""
    for one in (getattr(widget, "style", None), getattr(widget, "layout", None), widget):
        if isinstance(one, ipywidgets.Widget):
            one.close()


class _Exploration:
    """An experiment with its knobs, and the place of its result.

    Args:
        experiment: what is run.
        is_live: somebody may turn a knob.
    """

    def __init__(self, experiment: Callable[..., Any], *, is_live: bool) -> None:
        self.knobs: list[_Knob] = []
        self._experiment, self._is_live = experiment, is_live
        self._box: Any = None
        self._origin = current_origin()
        self._loop = loop_of_cells() or asyncio.get_running_loop()
        self._tasks = BackgroundTasks()
        self._id = uuid4().hex
        self._turned = False
        self._is_over = False

    async def begin(self) -> None:
        """Show the knobs, and the first result."""
        for one in tuple(_explorations):
            if self._replaces(one):
                one.close()
        result = await self._result()
        if self.knobs:
            self._show_knobs()
        shell = get_ipython()
        if shell is None:
            print(repr(result))
            return
        data, metadata = self._formatted(result)
        transient = {"display_id": self._id} if self._is_live else None
        publish_display_data(data, metadata, transient=transient)
        if self._is_live:
            _explorations.append(self)
            for knob in self.knobs:
                knob.widget.observe(self._turn, "value")

    def close(self) -> None:
        """Let go of the knobs, and run it no more."""
        self._is_over = True
        self._tasks.cancel()
        if self in _explorations:
            _explorations.remove(self)
        for knob in self.knobs:
            if isinstance(knob.widget, ipywidgets.Widget):
                with contextlib.suppress(ValueError):  # it was not observed yet
                    knob.widget.unobserve(self._turn, "value")
            knob.close()
        _close(self._box)

    def _replaces(self, other: _Exploration) -> bool:
        """Whether another one is of an earlier run of the same cell, whose output is gone."""
        mine, its = self._origin, other._origin
        if mine is None or its is None or mine.cell is None:
            return False
        return mine.cell == its.cell and mine.run != its.run

    def _show_knobs(self) -> None:
        words = "\n".join("".join(one.told("[{}]".format)) for one in self.knobs)
        if get_ipython() is None:
            print(words)
            return
        told = [tag("div", *one.told(lambda text: tag("strong", text))) for one in self.knobs]
        note = tag("small", "in a live notebook this is a slider, and the experiment runs again")
        page = as_page(Markup(tag("div", *told, tag("div", note, style="opacity:.75"))))
        forms: dict[str, Any] = {"text/plain": words, "text/html": page}
        if self._is_live:
            self._box = ipywidgets.VBox([one.widget for one in self.knobs])
            forms = {**self._box._repr_mimebundle_(), **forms}
        display(forms, raw=True)

    def _turn(self, _: object) -> None:
        """Run it again where it ran first; JupyterLab has a knob turned in a thread of its own."""
        call_on(self._loop, self._run_soon)

    def _run_soon(self) -> None:
        """Run it again; once more after that if a knob is turned meanwhile."""
        if self._is_over:
            return
        self._turned = True
        if all(task.done() for task in self._tasks):
            self._tasks.spawn(self._run_again())

    async def _run_again(self) -> None:
        while self._turned:
            self._turned = False
            try:
                data, metadata = self._formatted(await self._result())
            except FAULTS as error:
                text = error_line(error)
                data, metadata = {"text/plain": text, "text/html": as_page(tag("pre", text))}, {}
            transient = {"display_id": self._id}
            publish_display_data(data, metadata, transient=transient, update=True)

    async def _result(self) -> Any:
        values = {knob.name: knob.value for knob in self.knobs}
        result = self._experiment(**values)
        return await result if inspect.isawaitable(result) else result

    @staticmethod
    def _formatted(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shell: Any = get_ipython()
        data, metadata = shell.display_formatter.format(result)
        return data, metadata


_explorations: list[_Exploration] = []
"""Those whose knobs may be turned, the oldest first."""
