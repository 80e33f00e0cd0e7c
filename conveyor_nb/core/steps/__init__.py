"""The steps of a store: every rule of what happens to jobs that touches more than one of them.

A step is one atomic call of a store, as a plain function over its rows, see ``core.rows``. What a
single job may do and become is in ``lifecycle``, what children do to their parents in
``flow_rules``, when a schedule runs in ``schedule``; here these meet the rows. Where to look:

- what follows when a job settles or is removed, and in which order: ``consequences``;
- what makes a parent wait, and for whom: ``families`` and ``flow_rules``; ``entering.admit`` for a
  new one, ``lifecycle.move`` for one that was active and is put back;
- what a retry resets: ``lifecycle``; what may refuse it: ``changing.decide``, ``families``;
- what is kept of settled jobs, and for how long: ``retention``;
- which job stands for a duplicate: ``deduplication``; how jobs are added: ``saving``;
- when the next run of a schedule is created: ``planning``; how a schedule changes: ``schedulers``;
- which job a worker gets, if any: ``serving``; what is kept of the worker itself: ``workers``;
- what drain, clean, obliterate and the retrying of many do: ``many``;
- what is asked of the same rows, and changes nothing: ``looking``;
- the way of a result from its handler to who awaits it: ``stores.following``.

Each imports only those before it in this order: ``writing``, ``deduplication``, ``families``,
``planning``, ``retention``, ``consequences``, ``changing``, and then the others.
"""
