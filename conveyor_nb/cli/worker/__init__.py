"""``python -m conveyor_nb worker``: workers in a process of their own, over a durable store."""
