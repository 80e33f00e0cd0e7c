"""The store in a file of SQLite's, for any number of processes of one machine.

``store`` is what people hold in their hands, with ``reads`` for its looks. ``lane`` is a thread
that does all calls that wait at once: ``writer`` in one transaction, where ``session`` takes their
steps, and where it learns what other processes wrote (``batches``); ``reader`` beside it, for those
that only look. ``connecting`` opens a file, and ``faults`` says what is wrong with one.
"""
