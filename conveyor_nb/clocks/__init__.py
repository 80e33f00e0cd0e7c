"""Time: the clocks, timers, and the loops that these run on."""
