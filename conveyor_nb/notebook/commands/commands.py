"""A sub-command of ``%conveyor``: its arguments, its help, and the table of them all."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from IPython.core import magic_arguments
from IPython.core.error import UsageError

from conveyor_nb.core.values.text import shown
from conveyor_nb.notebook.commands.command_line import word
from conveyor_nb.notebook.commands.magic_output import Answer
from conveyor_nb.notebook.mistakes import Mistake, near
from conveyor_nb.notebook.shell.session import Session

__all__ = [
    "Argument",
    "Command",
    "Runner",
    "build_parser",
    "command",
    "help_of",
    "parse",
    "suggestions",
]

Runner = Callable[[Session, Namespace], Awaitable[Answer]]


class Argument(NamedTuple):
    """An argument or an option.

    Args:
        name: ``"queue"``, or ``"--state"`` for an option.
        help: what it is, for a person.
        read: turns what was typed into a value; may raise ``Mistake``.
        completes: what the tab key offers: ``"queues"``, ``"workers"``, ``"states"`` and so on.
        optional: whether an argument may be left out.
        flag: whether an option takes no value.
        dest: the name of its value, if it is not that of the option.
    """

    name: str
    help: str
    read: Callable[[str], Any] = word
    completes: str = ""
    optional: bool = False
    flag: bool = False
    dest: str = ""
    metavar: str = ""

    @property
    def is_option(self) -> bool:
        """Whether it is given by its name."""
        return self.name.startswith("-")


class Command(NamedTuple):
    """A sub-command: what it is called, what it does, and how it is typed."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    example: str
    parser: Any
    run: Runner
    waits: bool

    @property
    def usage(self) -> str:
        """How it is typed, in short."""
        places = [one for one in self.arguments if not one.is_option]
        shown = [f"[{one.name.upper()}]" if one.optional else one.name.upper() for one in places]
        options = ["[options]"] if len(places) < len(self.arguments) else []
        return " ".join([self.name, *shown, *options])


def command(
    table: dict[str, Command], *arguments: Argument, example: str, waits: bool = False
) -> Callable[[Runner], Runner]:
    """Put the decorated function into a table of commands, under its own name.

    Args:
        table: where it goes.
        arguments: what it takes.
        example: a line that works.
        waits: whether it may have to wait, whatever the store.
    """

    def add(run: Runner) -> Runner:
        name = run.__name__.rstrip("_").replace("_", "-")
        text = run.__doc__ or ""
        parser = build_parser(f"conveyor {name}", text, arguments, f"For instance: {example}")
        summary = text.strip().splitlines()[0].rstrip(".")
        table[name] = Command(name, summary, arguments, example, parser, run, waits)
        return run

    return add


def build_parser(
    name: str, description: str, arguments: tuple[Argument, ...], epilog: str = ""
) -> Any:
    """The parser of a magic, made the way of IPython's ``magic_arguments``."""

    def described() -> None:
        pass

    described.__doc__ = description
    ipython: Any = magic_arguments  # only partly typed
    decorated: Any = described
    for one in reversed(arguments):
        decorated = ipython.argument(one.name, **_settings(one))(decorated)
    if epilog:
        decorated = ipython.kwds(epilog=epilog)(decorated)
    parser = ipython.magic_arguments(name)(decorated).parser
    parser.allow_abbrev = False  # a word that begins like an option may be a slip
    return parser


def help_of(parser: Any) -> str:
    """What a parser prints of itself, without the marks that make it a block of reST."""
    return str(parser.format_help()).removeprefix("::").lstrip()


def parse(
    parser: Any, typed: list[str], arguments: tuple[Argument, ...], *, example: str
) -> Namespace:
    """Read the words of a command line; options may stand anywhere.

    Args:
        parser: from :func:`build_parser`.
        typed: the words, as ``command_line.split`` gives them.
        arguments: those of the parser.
        example: a line that works, for the message.

    Raises:
        Mistake: they are not what the command takes.
    """
    try:
        found, left = parser.parse_known_intermixed_args(typed)
    except UsageError as error:
        _, required, missing = str(error).partition("the following arguments are required: ")
        problem = f"{missing} missing" if required else str(error).removeprefix("argument ")
        raise Mistake(f"{problem}; type for instance: {example}") from None
    if left:
        option = next((one for one in left if one.startswith("-")), None)
        if option is None:
            if "--cron" in typed:
                line = " ".join(typed[typed.index("--cron") + 1 :][:5])
                raise Mistake(f'a cron line is typed in quotation marks: --cron "{line}"')
            blanks = "a name with blanks is typed in quotation marks"
            raise Mistake(f"{left[0]} is too much ({blanks}); type for instance: {example}")
        names = [one.name for one in arguments if one.is_option]
        hint = near(option, names) if names else "it has none"
        raise Mistake(f"there is no option {shown(option)}; {hint}")
    assert isinstance(found, Namespace)
    return found


def suggestions(arguments: tuple[Argument, ...], before: list[str]) -> tuple[Argument | None, bool]:
    """Which argument the next word is for, and whether it may be the name of an option."""
    options = {one.name: one for one in arguments if one.is_option}
    places = [one for one in arguments if not one.is_option]
    last = options.get(before[-1]) if before else None
    if last is not None and not last.flag:
        return last, False
    taken = 0
    skip = False
    for typed in before:
        option = options.get(typed)
        if skip or option is not None:
            skip = not skip and option is not None and not option.flag
        else:
            taken += 1
    return (places[taken] if taken < len(places) else None), True


def _settings(one: Argument) -> dict[str, Any]:
    settings: dict[str, Any] = {"help": one.help}
    if one.dest:
        settings["dest"] = one.dest
    if one.flag:
        return {**settings, "action": "store_true"}
    settings["type"] = one.read
    if one.metavar:
        settings["metavar"] = one.metavar
    if one.optional and not one.is_option:
        settings["nargs"] = "?"
    return settings
