"""The live panel: what its page shows (``queue_view``), and what it may send (``page_messages``).

Python holds the state and the page in ``static`` draws it: ``widget`` is the widget between
them, and ``feed`` says when the page gets a frame.

A new tab needs a ``view.View`` that reads its part, an entry in ``queue_view.TABS``, a trait of the
widget named as ``View.part``, and in ``static`` a module that draws it, an entry of the same name
in ``makeTabs`` of ``panel.js`` and, if need be, a style sheet of its own, which is found by itself.
"""
