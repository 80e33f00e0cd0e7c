"""The form in which jobs and events are kept: that of Conveyor, and what it has no word for.

``codec`` turns rows into records and back, for both kinds of database; ``payloads`` has what stands
in the columns of payloads, ``exact`` Python's plain types beyond JSON, ``options`` the options of
jobs, ``attempts`` the records of attempts, ``instants`` times, and ``events`` what is told of them.
All of it is pure. What other programs wrote is read as well as it can be: nothing in a row makes
the row unreadable.
"""
