"""A tape in a panel: ``tape_store`` is a store as it was at an event, ``widget`` its panel."""
