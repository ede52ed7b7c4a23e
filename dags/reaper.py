"""Remove the containers that nobody waits for any more.

**What**: looks at every container that Kilter started for this installation, and removes those whose task is over or
unknown. A task removes its own container; this clears what a killed worker or a deleted run left behind.

**When**: every hour.

**When red**: no Docker engine answers where the task ran. Start it; nothing else depends on this DAG.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from kilter_airflow.reaper import ReapOperator


@dag(
    dag_id="kilter.reaper",
    description="Removes containers whose task is over.",
    doc_md=__doc__,
    tags=["kilter", "maintenance"],
    schedule="@hourly",
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "kilter", "retries": 1, "retry_delay": timedelta(minutes=5)},
)
def reaper() -> None:
    ReapOperator(task_id="reap")


reaper()
