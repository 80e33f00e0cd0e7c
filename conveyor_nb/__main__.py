"""``python -m conveyor_nb``: see :mod:`conveyor_nb.cli`."""

import sys

from conveyor_nb.cli import main

if __name__ == "__main__":
    sys.exit(main())
