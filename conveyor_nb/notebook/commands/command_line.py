"""How a line after ``%conveyor`` is read: its words, its JSON, and what each of them means.

Every fault is a :class:`Mistake`, whose text is one line that says what to type instead.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from IPython.utils.text import FullEvalFormatter

from conveyor_nb.core.model import JobState
from conveyor_nb.core.options.backoff import Backoff, BackoffType, Jitter
from conveyor_nb.core.options.keep import Keep
from conveyor_nb.core.options.worker_options import Limiter
from conveyor_nb.core.values.durations import to_seconds
from conveyor_nb.core.values.text import FAULTS, error_line, shown
from conveyor_nb.notebook.mistakes import Mistake, near, quoted

__all__ = [
    "backoff",
    "duration",
    "expanded",
    "job_state",
    "limiter",
    "number",
    "payload_of",
    "retention",
    "split",
    "whole_number",
    "word",
]

_JSON = json.JSONDecoder()
_WORD = re.compile(r"\S+")
_VARIABLE = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CODE = r"\{[^\"{}\s][^{}\s]*\}"
_TO_EXPAND = re.compile(rf"\$(?P<path>{_VARIABLE})|(?P<code>{_CODE})")
_BEGINS_WITH_CODE = re.compile(rf"{_CODE}\S*")
_FORMATTER: Any = FullEvalFormatter()  # which IPython's own magics have; without types
_EXAMPLE = '{"to": "ada@example.org"}'


def split(line: str) -> list[str]:
    r"""The words of a line as they were typed; JSON and quoted text are one word each.

    Raises:
        Mistake: JSON or a quotation doesn't end, or is not right.

    >>> split('add emails send {"to": ["ada", "grace"]} --delay "5 minutes"')
    ['add', 'emails', 'send', '{"to": ["ada", "grace"]}', '--delay', '"5 minutes"']
    """
    words = []
    at = 0
    while match := _WORD.search(line, at):
        start = match.start()
        if code := _BEGINS_WITH_CODE.match(line, start):  # which is never JSON
            at = code.end()
        elif line[start] in "{[":
            at = _end_of_json(line, start)
        elif line[start] in "\"'":
            at = _end_of_quotation(line, start)
        else:
            at = match.end()
        words.append(line[start:at])
    return words


def word(text: str) -> str:
    """A word without the quotation marks that held it together.

    >>> word("emails"), word('"my queue"')
    ('emails', 'my queue')
    """
    if text.startswith('"'):
        return str(json.loads(text))
    return text[1:-1] if text.startswith("'") else text


def payload_of(text: str, variables: Mapping[str, Any]) -> Any:
    """What a payload stands for: JSON, or ``$name`` for a variable; nothing is evaluated.

    >>> payload_of("[1, 2.5, null]", {})
    [1, 2.5, None]
    >>> payload_of("$address", {"address": ("ada", "example.org")})
    ('ada', 'example.org')
    >>> payload_of("$half.real", {"half": 0.5})
    0.5
    """
    if text.startswith("$"):
        return _variable(text[1:], variables)
    json_text = text[1:-1] if text.startswith("'") else text
    try:
        return _JSON.decode(json_text)
    except json.JSONDecodeError as error:
        raise Mistake(_not_json(json_text, error)) from None


def expanded(text: str, variables: Mapping[str, Any]) -> str:
    """A word with ``$name``, ``$name.attribute`` and ``{code}`` worked out, as IPython does it.

    A word in quotation marks, and JSON, stay as they are.

    >>> expanded("emails-{n+1}", {"n": 1}), expanded("$n.real", {"n": 1}), expanded('"$n"', {})
    ('emails-2', '1', '"$n"')
    """
    is_json = text.startswith(("[", "{")) and not _BEGINS_WITH_CODE.match(text)
    if is_json or text.startswith(('"', "'")) or not _TO_EXPAND.search(text):
        return text

    def value(found: re.Match[str]) -> str:
        if path := found["path"]:
            return str(_variable(path, variables))
        try:
            return str(_FORMATTER.vformat(found["code"], (), variables))
        except FAULTS as error:
            raise Mistake(f"{found['code']} can't be worked out: {error_line(error)}") from None

    return quoted(_TO_EXPAND.sub(value, text))


def job_state(text: str) -> JobState:
    """The name of a state."""
    state = word(text)
    if state not in list(JobState):
        raise Mistake(f"there is no state {shown(state)}; {near(state, map(str, JobState))}")
    return JobState(state)


def number(what: str) -> Callable[[str], float]:
    """Reads a number, for an option that is called ``what``."""

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise Mistake(f"{what} is a number such as 10, not {shown(text)}") from None

    return read


def whole_number(what: str) -> Callable[[str], int]:
    """Reads a whole number, for an option that is called ``what``."""

    def read(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise Mistake(f"{what} is a whole number such as 3, not {shown(text)}") from None

    return read


def duration(what: str) -> Callable[[str], float]:
    """Reads a duration, for an option that is called ``what``; a bare number is in seconds."""

    def read(text: str) -> float:
        text = word(text)
        try:
            return to_seconds(float(text) if _is_number(text) else text, what=what)
        except ValueError:
            raise Mistake(
                f"{what} is a duration such as 500ms, 5s or 10m, not {shown(text)}"
            ) from None

    return read


def backoff(text: str) -> Backoff:
    """A backoff: a duration, or the way it grows and the first one, and how much is chance.

    >>> backoff("exponential:2s")
    Backoff(type='exponential', delay=2.0)
    >>> backoff("exponential:2s:full")
    Backoff(type='exponential', delay=2.0, jitter='full')
    """
    rest, _, last = word(text).rpartition(":")
    jitter = Jitter.FULL if last == Jitter.FULL else None
    kind, _, delay = rest.rpartition(":") if jitter else (rest, "", last)
    if kind not in ("", *BackoffType) or kind == BackoffType.CUSTOM:
        raise Mistake(
            "--backoff is a duration such as 2s, or exponential:2s, or exponential:2s:full for "
            f"full jitter, not {shown(text)}"
        )
    return Backoff(BackoffType(kind or "fixed"), duration("--backoff")(delay), jitter=jitter)


def retention(text: str) -> bool | Keep:
    """How long, or how many, settled jobs are kept; ``at-once`` is not at all.

    >>> retention("1h"), retention("100jobs")
    (Keep(age=3600.0), Keep(count=100))
    """
    text = word(text)
    if text == "at-once":
        return True
    number, _, rest = text.partition("job")
    if number.isdecimal() and rest in ("", "s"):
        if text == number:
            raise Mistake(
                f"{text} may be a time or a number of jobs; type {text}s to keep a job for so many "
                f"seconds, or {text}jobs to keep the newest {text}"
            )
        return Keep(count=int(number))
    return Keep(age=duration("how long a job is kept")(text))


def limiter(text: str) -> Limiter:
    """A rate limit.

    >>> limiter("10/1s")
    Limiter(max=10, duration=1.0)
    """
    most, slash, window = word(text).partition("/")
    if not slash or not most.isdecimal() or most == "0":
        raise Mistake(f"--limit is a number of jobs in a time, such as 10/1s, not {shown(text)}")
    return Limiter(int(most), duration("--limit")(window))


def _variable(path: str, variables: Mapping[str, Any]) -> Any:
    """The value of a variable, or of an attribute of it."""
    name, *attributes = path.split(".")
    if name not in variables:
        mine = [one for one in variables if not one.startswith("_")]
        found = difflib.get_close_matches(name, mine, n=1)
        hint = f"did you mean ${found[0]}?" if found else "give its value in a cell first"
        raise Mistake(f"there is no variable {shown(name)}; {hint}")
    value = variables[name]
    for attribute in attributes:
        try:
            value = getattr(value, attribute)
        except FAULTS as error:
            raise Mistake(f"${path} can't be worked out: {error_line(error)}") from None
    return value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _end_of_json(line: str, start: int) -> int:
    try:
        return _JSON.raw_decode(line, start)[1]
    except json.JSONDecodeError as error:
        raise Mistake(_not_json(line[start:], error)) from None


def _end_of_quotation(line: str, start: int) -> int:
    if line[start] == '"':
        try:
            return _JSON.raw_decode(line, start)[1]
        except json.JSONDecodeError:
            pass
    end = line.find(line[start], start + 1)
    if end < 0 or line[start] == '"':
        raise Mistake(f"the quotation {line[start:]} doesn't end; close it with {line[start]}")
    return end + 1


def _not_json(text: str, error: json.JSONDecodeError) -> str:
    """Says that a text is not JSON, and how to write it as JSON."""
    shown = text if len(text) <= 60 else text[:59] + "…"
    as_python = _python_as_json(text)
    hint = f"type {as_python}" if as_python else f"write for instance {_EXAMPLE}, or $name"
    problem = error.msg.removesuffix(" starting at")
    return f"{shown} is not JSON ({problem[0].lower()}{problem[1:]}); {hint}"


def _python_as_json(text: str) -> str | None:
    """A Python literal as the JSON that it might have been meant to be; it is not used as such."""
    if text.isidentifier():
        return json.dumps(text)
    end = max(text.rfind("}"), text.rfind("]")) + 1 or len(text)
    try:
        return json.dumps(ast.literal_eval(text[:end]), ensure_ascii=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
