"""`make demo`: the whole loop on a year of flights, on this machine.

`stack` says which servers run and how, `loop` drives Airflow month by month, `summary` tells what
came of it.
"""

MODELS = ("flight_delay", "arrival_delay")
"""The bundled models of the flights, of which a demo drives one; the first unless another is asked for."""
