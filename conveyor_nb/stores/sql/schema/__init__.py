"""The tables: those that are shared with Conveyor, our own beside them, and how they come to be.

``original`` has the tables as Conveyor makes them, ``own`` what we need beyond them, ``planning``
decides what a database that was found lacks, and ``sqlite`` and ``postgres`` make it so, under the
lock that Conveyor takes for its own migrations. ``columns`` says what the columns on a server are.

What is ours is named ``conveyor_nb_...`` and never in the way of the others: columns may be left
out, nothing refers to a row of theirs, and their tables are never altered but by columns of ours.
"""
