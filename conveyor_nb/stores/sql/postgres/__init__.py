"""The store on a server of PostgreSQL's: its statements' dialect, its connections, its events.

``store`` is the store itself. Its calls go to a thread with a loop of its own, ``home``, where
``desk`` has them done: what only looks by ``looks``, what writes by ``writing_calls``, on the
server that is reached by ``reaching``; what is sent goes through a ``link``. Calls that write are
taken together by ``group``, in one statement (``quick``) or one transaction; their steps are driven
by ``driving``, and what they ask is answered by ``answers``, many at a time. ``telling`` has what
is told of it, and ``listening`` hears what all stores on the server tell. ``faults`` says what is
wrong with a server in one sentence, and ``doubts`` finds out what was done when a connection broke.
"""
