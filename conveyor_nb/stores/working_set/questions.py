"""What a step has to know, and what is raised as long as it does not."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Question", "RowMissing"]


class Question(NamedTuple):
    """Something that a step has to know of the rows as they are in the store.

    Most are reads of ``Rows``, with its arguments and its answer: ``job``, ``holders``, ``child``,
    ``children``, ``failed_children``, ``awaited_children``, ``scheduler``, ``schedulers``,
    ``worker``, ``listed``, ``due``, ``expired``, ``surplus``, ``paused_names``, ``next_due``,
    ``has_waiting``, ``active_count``, ``waiting_in_group``. Where the step's own changes have a
    say, it is another:

    - ``busy(queue_name, most)``: ids of jobs that are waiting or active; of very many, so many.
    - ``in_turn(queue_name, options, now, most)``: the next waiting jobs, at most so many, if they
      were to start now one after the other: by paused names, the turns of groups and their limits,
      priority and place.
    - ``next_opening(queue_name, options, now)``: when the first of the groups may be served that
      are held back by their rate limit.
    - ``starts(queue_name, limiter)``: when the latest jobs started, the newest last; as many as
      the limit allows.
    - ``new_ids(queue_name, most)``: so many ids that no job has or had. It uses none of them up, so
      unless they are random it is to be seen, at the commit, that nobody else has.
    - ``next_sequence(queue_name)``: the next number of the insertion counter, not used up either.
    """

    what: str
    about: tuple[Any, ...]


class RowMissing(BaseException):
    """Raised by a read whose answer is not loaded."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question
