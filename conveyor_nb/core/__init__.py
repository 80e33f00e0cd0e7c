"""The ground floor: data and rules. What decides stands here; it neither waits nor reads a clock.

Everybody may import this room, and it imports nothing of ours. Begin with ``model`` (the record of
a job), ``actions`` (what can be done to one) and ``lifecycle`` (which state follows, and what a
retry resets). Beside them: ``flow_rules`` (what makes a parent wait), ``locks`` (when a lock is
lost), ``schedule`` (when a repeating job runs, also across a clock change), ``attempts``,
``options.backoff``, ``options.retry_policy`` and ``values.bounds``. What follows from all that for
parents, schedules and whole queues is in ``steps``, over the ``rows`` of any store.
Two rooms below know nothing of jobs: ``options``, and ``values``, which takes what people write and
shows what others wrote.
"""
