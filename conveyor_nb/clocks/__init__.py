"""Time: clocks (real, scaled, virtual), their timers, the event loops that these run on, and tasks.

Whoever needs the time asks the clock of its store; no other room reads the machine's or sleeps.
Imports ``core``, and is imported by all above it. Begin with ``clock``.
"""
