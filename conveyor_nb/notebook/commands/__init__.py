"""``%conveyor``, ``%%worker`` and what they do."""
