"""Options: what people may say of a job or a worker, declared once and made normal at the call.

``declaring`` says how an option is declared. ``job_options`` has those of jobs, of which
``backoff``, ``keep`` and ``repeat`` are objects of their own; ``worker_options`` has those of
workers, among them what is retried (``retry_policy``). Imports ``values`` and ``errors`` alone.
"""
