"""Pictures of queues: laid out once, drawn as SVG for readers and moved about on a live page.

``belt_state`` reads what a queue's picture shows, ``belt`` lays it out, ``svg`` writes it.
"""
