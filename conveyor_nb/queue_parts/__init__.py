"""The methods of ``Queue``, part by part: what adds, looks, maintains, and keeps schedulers.

Each part stands on those below it: ``base``, then ``schedulers``, then ``adding``; ``looking`` and
``maintaining`` need the base alone. Only ``queue`` imports this room: it puts them together, and
adds what listens to events, starts workers, or waits.
"""
