"""The kernel around us: its session, what is printed, interrupts, the terminal."""
