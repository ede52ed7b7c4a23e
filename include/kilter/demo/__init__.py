"""`make demo`: the whole loop on a year of flights, on this machine.

`services` starts and stops the servers, `loop` drives Airflow month by month, `summary` tells what
came of it.
"""
