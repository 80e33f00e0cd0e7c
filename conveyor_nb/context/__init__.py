"""What code that runs for a job knows of that: whose run it belongs to, wherever it is called.

From it follows which waits could never end (``deadlocks``), and which exception another job's
failure came from. It stands below ``job``, so it knows runs by what they hold and needs no ``Job``.
Imports ``core``, ``clocks`` and the interface of stores.
"""
