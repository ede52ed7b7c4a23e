"""Where raw data comes from: one reader a kind of source.

A reader returns the raw tables of a stretch of time. It judges nothing: rows that are out of place
are for validation to find.
"""
