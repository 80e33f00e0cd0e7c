"""Hypothesis' settings for state machines: ``HYPOTHESIS_PROFILE=deep`` takes a long look."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.internal.conjecture import engine

QUICK = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
)
settings.register_profile("quick", QUICK)
settings.register_profile("deep", QUICK, max_examples=300, stateful_step_count=100)

# A failing run looks for a short example for so long at most, and not for five minutes: by then
# its time limit would have ended it, with nothing said.
engine.MAX_SHRINKING_SECONDS = 60
