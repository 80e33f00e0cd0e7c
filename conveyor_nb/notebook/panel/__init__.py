"""The live panel: what its page shows (``queue_view``), and what it may send (``page_messages``).

Python holds the state and the page in ``static`` draws it: ``widget`` is the widget between
them, and ``feed`` and ``repaint`` say when the page gets a frame.
"""
