"""The machinery of a worker, from taking a job to reporting what came of it.

``worker`` is what people hold; ``life`` takes it from one ``phase`` to the next, and ``closing`` to
its end. Its ``dispatcher`` takes jobs into ``slots``; an ``execution`` calls the handler by one of
the ``runners`` (in the loop, in a thread, in a process) and says what came of it; ``reporting``
sees to outcomes that the store does not take, ``locks`` renews what is held and finds stalled jobs,
and ``overruns`` sees to handlers that do not stop. Only ``worker``, and who needs the current job,
imports this room.
"""
