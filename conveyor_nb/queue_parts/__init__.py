"""The methods of ``Queue``, part by part: adding, job schedulers, looking, maintaining.

``queue`` puts them together, and adds what needs a running loop: events, workers, ``join``. Nobody
else imports this room.
"""
