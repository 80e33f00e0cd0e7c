"""The rule of a schedule in words, and the rule that words typed by a person give."""

from __future__ import annotations

from functools import lru_cache

from conveyor_nb.core.options.repeat import Repeat
from conveyor_nb.core.schedule import interval
from conveyor_nb.core.values.durations import to_seconds
from conveyor_nb.core.values.text import shown

__all__ = ["read_rule", "rule_in_words", "rule_text"]

_FEWEST_CRON_FIELDS = 5


@lru_cache(maxsize=512)
def rule_in_words(repeat: Repeat) -> str:
    """When a job repeats, as one would say it.

    >>> rule_in_words(Repeat(cron="0 9 * * 1-5", tz="Europe/Paris"))
    'Every weekday at 09:00, Europe/Paris'
    >>> rule_in_words(Repeat(cron="0 8 * * mon,thu"))
    'Every Monday and Thursday at 08:00, UTC'
    >>> rule_in_words(Repeat(cron="30 18 * * *")), rule_in_words(Repeat(every="90 minutes"))
    ('Every day at 18:30, UTC', 'Every 1.5 hours')
    """
    if repeat.every is not None:
        return _every(repeat.every)
    assert repeat.cron is not None, "one of the two is given"
    return f"{_cron_in_words(repeat.cron)}, {repeat.tz or 'UTC'}"


def rule_text(repeat: Repeat) -> str:
    """The rule as a person would type it, so that :func:`read_rule` reads it again.

    >>> rule_text(Repeat(every="10 minutes")), rule_text(Repeat(cron="0 9 * * *"))
    ('10m', '0 9 * * *')
    """
    return repeat.cron if repeat.cron is not None else interval(repeat.every or 0.0)


def read_rule(text: str, tz: str, like: Repeat) -> Repeat:
    """The rule that a person typed: a cron line or a duration.

    Args:
        text: what was typed.
        tz: the time zone of a cron line; UTC if it is empty.
        like: the rule before, whose limit and dates stay.

    Raises:
        ValueError: it is neither.

    >>> read_rule("every 5 minutes", "", Repeat(cron="0 9 * * *", limit=3))
    Repeat(every=300.0, limit=3)
    """
    text, tz = text.strip(), tz.strip()
    limit, start, end = like.limit, like.start_date, like.end_date
    if len(text.split()) >= _FEWEST_CRON_FIELDS:
        return Repeat(cron=text, tz=tz or None, limit=limit, start_date=start, end_date=end)
    duration = text[len("every ") :] if text.lower().startswith("every ") else text
    try:
        seconds = to_seconds(duration)
    except ValueError as error:
        raise ValueError(
            f"{shown(text)} is no rule: type a duration such as 10m, or a cron line such as "
            "0 9 * * 1-5 (minute hour day month weekday)"
        ) from error
    return Repeat(every=seconds, limit=limit, start_date=start, end_date=end)


_WHOLE_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def _every(seconds: float) -> str:
    for length, unit in _WHOLE_UNITS:
        count = seconds / length
        if count >= 1 and count * 100 == round(count * 100):
            return f"Every {unit}" if count == 1 else f"Every {count:g} {unit}s"
    return f"Every {interval(seconds)}"


def _cron_in_words(line: str) -> str:
    from cron_descriptor import FormatError, MissingFieldError, Options, get_description

    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"  # as the rest of the page, whatever the system speaks
    try:
        told: str = get_description(line, options)
    except (FormatError, MissingFieldError, ValueError, IndexError):
        return f"By the cron line {line}"  # it knows fewer kinds of lines than croniter
    if not told.startswith("At ") or "minutes past" in told or "seconds past" in told:
        return told
    at, _, days = told.partition(", ")
    if not days:
        return f"Every day a{at[1:]}"
    if days == "Monday through Friday":
        return f"Every weekday a{at[1:]}"
    if "," not in days and days.startswith("only on "):
        return f"Every {days[len('only on ') :]} a{at[1:]}"
    return told
