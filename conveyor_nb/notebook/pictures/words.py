"""What pictures say of jobs in a few letters."""

from __future__ import annotations

from conveyor_nb.core.model import JobData, JobState
from conveyor_nb.core.values.text import fit, inline, one_line, shorten
from conveyor_nb.notebook.pictures.belt_state import BeltState

__all__ = ["about", "brief", "end_of", "flow_words", "job_words", "state_word", "text_width"]

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))


def about(seconds: float) -> str:
    """A duration, roughly.

    >>> about(0.04), about(7.25), about(61), about(5_000), about(172_000)
    ('0.0s', '7.2s', '1m', '1.4h', '2d')
    """
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f}{unit}".replace(".0", "") if count < 9.95 else f"{count:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def end_of(job_id: str) -> str:
    """What tells the ids of one queue apart: their last characters.

    >>> end_of("emails-12"), end_of("7d0f9a52-93cc-4e52-b5fe-0bbd1f2e77aa")
    ('12', '77aa')
    """
    tail = job_id[-400:].rpartition("-")[2] or job_id[-4:]
    return one_line(fit(tail)[-4:], 4)


def brief(words: str, most: int) -> str:
    """Other people's words where there is little room: at most so many characters.

    >>> brief("thumbnail", 6)
    'thumb…'
    """
    return inline(shorten(fit(" ".join(words[:400].split())), most))


def state_word(state: JobState) -> str:
    """A state, as it is said of several jobs."""
    return "wait for children" if state is JobState.WAITING_CHILDREN else str(state)


def flow_words(state: BeltState) -> str:
    """How it goes: how many settle in a second, how much is done, and how long it still takes."""
    told = []
    if state.rate is not None:
        told.append(f"{state.rate:,.0f}/s" if state.rate >= 10 else f"{state.rate:.1f}/s")
    left = state.total - state.settled
    if state.settled:
        told.append(f"{100 * state.settled // state.total}% done" if left else "all done")
    if state.rate and left and not state.standing:
        told.append(f"about {about(left / state.rate)} left")
    return " · ".join(told)


def job_words(job: JobData) -> str:
    """What is said of a job when somebody points at its piece."""
    told = [one_line(job.id, 60), one_line(job.name, 40), str(job.state)]
    if job.priority:
        told.append(f"priority {job.priority:g}")
    if job.group_id is not None:
        told.append(f"group {one_line(job.group_id, 30)}")
    if job.failed_reason and job.state is JobState.FAILED:
        told.append(one_line(job.failed_reason, 80))
    return " · ".join(told)


def text_width(label: str, size: float = 12) -> float:
    """About how wide a line of text is."""
    return len(label) * size * 0.56
