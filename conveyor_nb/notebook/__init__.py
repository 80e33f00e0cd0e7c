"""What a notebook shows: DataFrames, progress bars, static displays, the live panel, the magics.

Only this room imports IPython, ipywidgets, anywidget or pandas, so that the engine runs where there
is none. It may import all that is below it; nothing below imports it: ``display`` is handed its
``renderers``. The live panel, the pictures, the magics and the kernel around us have rooms
of their own.
"""
