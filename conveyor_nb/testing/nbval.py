r"""What nbval is to leave out when it compares a notebook's outputs with the saved ones.

In virtual time and with sequential ids there is nothing: an output is the same each time. For
what runs in real time there is a file of rules, which makes ids, addresses, instants and
durations alike; ``python -m conveyor_nb.testing.nbval`` prints its path::

    python -m pytest --nbval my.ipynb \
        --nbval-sanitize-with "$(python -m conveyor_nb.testing.nbval)"
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["SANITIZE"]

SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")
"""The file of rules."""

if __name__ == "__main__":
    print(SANITIZE)
