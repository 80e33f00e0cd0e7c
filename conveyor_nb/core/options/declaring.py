"""How options are declared: each once, with what makes it normal and its default.

A class of options is a frozen dataclass of what the engine uses: seconds as ``float``, members of
enumerations, instants in UTC. Its ``__init__`` is typed with what a person may write, and hands
all of it to ``_take``, where each option is checked and made normal. Nothing behind that asks
again. (attrs has converters for this, but mypy refuses those that know the option's name.)

Where many options are keywords, a ``TypedDict`` types them, for type checkers, and for Tab and
``?`` by :func:`spelled_out`. So a new option is a line in that and a line in the class.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, get_args

from conveyor_nb.core.values.checks import reject_unknown
from conveyor_nb.core.values.text import one_line, shown

__all__ = ["Options", "option", "option_names", "part_of", "spelled_out"]

_Value = TypeVar("_Value")
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def option(
    normal: Callable[..., _Value], default: Any = dataclasses.MISSING, *, called: str | None = None
) -> _Value:
    """Declare an option of a class of :class:`Options`.

    Args:
        normal: called with a value and ``what`` it is, returns what is kept, or raises.
        default: what it is if it is not given, unless it always is. One whose default is
            ``None`` takes ``None``.
        called: what errors call it; if not given, its name after the class's ``_called``.
    """
    made: _Value = dataclasses.field(default=default, metadata={"normal": normal, "called": called})
    return made


class Options:
    """The base of what ``option`` declares."""

    __slots__ = ()
    _kind: ClassVar[str] = "option"
    _called: ClassVar[str] = ""

    def _take(self, given: Mapping[str, Any], others: Self | None = None) -> None:
        """Keep what was given, made normal.

        Args:
            given: options by name.
            others: what the rest of them are to be; their defaults if not given.

        Raises:
            TypeError, ValueError: an unknown option, or a bad value.
        """
        kind: Any = type(self)  # mypy doesn't know that a class can be hashed
        if not given.keys() <= option_names(kind):
            reject_unknown(given, option_names(kind), what=self._kind)
        for name, called, default, normal in _table(kind):
            if name in given:
                value = given[name]
                if value is not None or default is not None:
                    value = normal(value, what=called)
            else:
                value = default if others is None else getattr(others, name)
            object.__setattr__(self, name, value)  # it is frozen for everybody else

    def __repr__(self) -> str:
        kind: Any = type(self)
        told = (
            f"{name}={_told(value)}"
            for name, _, default, _ in _table(kind)
            if (value := getattr(self, name)) != default
        )
        return f"{kind.__name__}({', '.join(told)})"


def _told(value: object) -> str:
    """A value in the repr of options: on one line and short; options among them are whole."""
    if isinstance(value, Options):
        return repr(value)
    name = getattr(value, "__name__", None)  # of a function, whose repr has an address
    return one_line(name, 40) if isinstance(name, str) else shown(value, limit=40)


class _Option(NamedTuple):
    name: str
    called: str
    default: Any
    normal: Callable[..., Any]


@cache
def _table(kind: Any) -> tuple[_Option, ...]:
    return tuple(
        _Option(
            one.name,
            one.metadata["called"] or f"{kind._called} {one.name}".lstrip(),
            one.default,
            one.metadata["normal"],
        )
        for one in dataclasses.fields(kind)
    )


@cache
def option_names(kind: Any) -> frozenset[str]:
    """The names of the options of a class."""
    return frozenset(one.name for one in _table(kind))


def part_of(whole: str) -> Callable[[_Class], _Class]:
    """Let the methods of a base be known as those of the class that is made of it.

    Python names a method in its errors by where it was defined: ``Queue.add() missing ...``.

    Args:
        whole: the name of the class that people know.
    """

    def name(part: _Class) -> _Class:
        for function in vars(part).values():
            if inspect.isfunction(function):
                function.__qualname__ = f"{whole}.{function.__name__}"
        return part

    return name


class _Another:
    """In place of a default that another one has a say in, such as the queue."""

    def __repr__(self) -> str:
        return "..."


def spelled_out(defaults: type[Options] | None = None) -> Callable[[_Function], _Function]:
    """Let ``help``, ``?`` and Tab see the keywords of a ``**options: Unpack[...]``.

    What looks at a function while it runs knows nothing of ``Unpack``; type checkers do.

    Args:
        defaults: whose defaults are shown; ``...`` is, if not given.

    >>> from typing import TypedDict, Unpack
    >>> class Keywords(TypedDict, total=False):
    ...     attempts: int
    >>> @spelled_out()
    ... def add(name: str, **options: Unpack[Keywords]) -> None: ...
    >>> inspect.signature(add)
    <Signature (name: 'str', *, attempts: 'int' = ...) -> 'None'>
    """
    kind: Any = defaults
    known = {one.name: one.default for one in _table(kind)} if kind else {}

    def spell(function: _Function) -> _Function:
        signature = inspect.signature(function)
        *others, rest = signature.parameters.values()
        typed = rest.annotation
        if isinstance(typed, str):
            typed = eval(typed, function.__globals__)  # an annotation, and in this package
        (keywords,) = get_args(typed)
        spelled = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=known.get(name, _ANOTHER),
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for name, annotation in keywords.__annotations__.items()
            if name not in signature.parameters
        ]
        whole = signature.replace(parameters=[*others, *spelled])
        function.__signature__ = whole  # type: ignore[attr-defined]
        return function

    return spell


_ANOTHER = _Another()
