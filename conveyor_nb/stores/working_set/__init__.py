"""Steps over rows that are elsewhere: what was loaded of a store, overlaid by what a step changes.

A store whose rows are in a database hands a ``WorkingSet`` to the steps of ``core``. A read that it
has no answer to raises ``RowMissing``; the question is put to the store, and the step is taken
again from its start. When it has come to its end, what it changed is written in one go, if all that
it was told still holds; if not, it is asked anew.

``questions`` says what a store is asked, ``changes`` what it is to write, and ``loop`` is the loop.
The rows as a step sees them are in ``loaded`` (what was asked, and jobs), ``serving`` (which job
may start) and ``rows`` (all else). ``store`` has the methods of a store that are steps.

A new store begins as a ``SteppedStore``, which leaves ten methods to it: ``take_step()`` (by
``loop.run_step`` over a ``RowsSession`` of its own) and ``answer()``; ``connect()`` and
``disconnect()``; ``get_job_counts()``, ``list_queues()`` and ``list_workers()``; ``publish()``,
``subscribe()`` and ``unsubscribe()``. ``tests/bytes_store.py`` is one, and ``testing.conformance``
proves it.
"""
