"""A worker's machinery, and nobody else's: slots, handlers, threads, processes, locks."""
