"""Values: what people write, made normal, and what others wrote, made fit to be kept and shown.

``checks``, ``durations`` and ``plain_values`` take what comes in; ``canonical_json`` and
``payload_search`` read payloads; ``text`` shows anything, and ``bounds`` says how much of it is
kept. Knows nothing of jobs, and imports nothing of ours.
"""
