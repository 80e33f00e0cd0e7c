"""DataFrames, live panels and static displays; only this package imports what they need."""
