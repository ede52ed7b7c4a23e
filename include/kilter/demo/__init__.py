"""`make demo`: the whole loop on a year of flights, on this machine.

`stack` says which servers run and how, `loop` drives Airflow month by month, `summary` tells what
came of it.
"""
