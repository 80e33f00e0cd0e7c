"""``%conveyor``, ``%%worker`` and what they do.

Begin with ``magics``; a sub-command is in ``queue_commands`` or ``kernel_commands``.
"""
