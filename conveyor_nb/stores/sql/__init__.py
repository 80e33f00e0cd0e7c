"""Stores whose rows are in an SQL database, which they can share with programs of Conveyor.

``schema`` has the tables and how they come to be, ``wire`` what stands in them.
"""
