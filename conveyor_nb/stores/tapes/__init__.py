"""What happened in a store, kept: a tape is recorded, looked at, compared, and put into a file.

``tape`` is what people hold, ``recording`` makes one, ``moments`` says what a job was like at an
event; ``lines`` are the lines of its file, ``plain`` the values in them, ``difference`` tells where
two tapes part, and ``mermaid`` draws one for Markdown.
"""
