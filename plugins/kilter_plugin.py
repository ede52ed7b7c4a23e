"""What Kilter adds to Airflow itself: a schedule that ends with the model's data."""

from airflow.plugins_manager import AirflowPlugin

# Airflow loads plugins before it forks the processes that run tasks, so what every task needs is imported once.
from kilter_airflow import operators as operators
from kilter_airflow.runtimes import docker as docker
from kilter_airflow.timetables import IntervalTimetable


class KilterPlugin(AirflowPlugin):
    """Registered by Airflow because it lies in the plugins folder."""

    name = "kilter"
    timetables = [IntervalTimetable]  # noqa: RUF012 - Airflow reads it as it is
