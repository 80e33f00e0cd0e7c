"""The store on a server of PostgreSQL's: its statements' dialect, its connections, its events.

``store`` is the store itself. Its calls go to a thread with a loop of its own, ``home``, where
``desk`` has them done; what is sent goes through a ``link``. Calls that wait are taken together, in
one transaction, by ``group``, whose questions are answered by ``answers``, many at a time;
``listening`` hears what all stores on the server tell. ``faults`` says what is wrong with a server
in one sentence.
"""
