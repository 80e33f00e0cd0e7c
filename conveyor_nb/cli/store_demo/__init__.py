"""``python -m conveyor_nb demo --store``: jobs that outlive their worker; begin with ``story``."""
