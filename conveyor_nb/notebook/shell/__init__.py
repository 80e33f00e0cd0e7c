"""The kernel around us: its ``session``, ``interrupts``, what jobs print in it (``capture``)."""
