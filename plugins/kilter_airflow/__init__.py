"""How steps run in Airflow: operators, sensors, schedules. The only code besides the DAGs that imports Airflow."""
