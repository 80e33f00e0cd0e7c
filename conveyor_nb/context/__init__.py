"""What code that runs for a job knows of that: whose run it belongs to, wherever it is called.

From it follows which waits could never end (``deadlocks``), and what one who waits for another job
gets of it (``results``): its result, or an error whose cause is among the ``recent_failures``. It
stands below ``job``, so it knows runs by what they hold and needs no ``Job``. Imports ``core``,
``clocks`` and the interface of stores.
"""
