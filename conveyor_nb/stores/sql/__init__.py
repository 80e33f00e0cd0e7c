"""Stores whose rows are in an SQL database, which they can share with programs of Conveyor.

``schema`` has the tables and how they come to be, ``wire`` what stands in them. What is asked and
written stands once, as statements for whoever has a connection (``asking``): ``answers`` to the
questions of a working set, with ``serving`` for which job may start, and ``writing`` for what a
step changed; ``counters``, ``groups``, ``limits`` and ``metrics`` keep what these have in common,
``known`` what needs no asking for as long as nobody else writes.
``sqlite`` is the store in a file, ``postgres`` that on a server.
"""
