"""Says in the UI which `model.yaml` is wrong: file, key, value, what is allowed and the cure.

This file holds no DAG. The other files leave a broken model out, so that it hides no other model;
this one raises its mistakes as an Airflow import error.
"""

from kilter_airflow.catalogue import check_specs

check_specs()
