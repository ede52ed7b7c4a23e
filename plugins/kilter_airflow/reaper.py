"""Removes containers whose task is over, which a killed worker may leave behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from kilter.errors import KilterError
from kilter_airflow.runtimes.docker import Engine, connect
from kilter_airflow.settings import RuntimeSettings

OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
YOUNG_SECONDS = 300
"""Younger containers stay: Airflow may not have written down yet that their task runs."""

States = Callable[[str, str], Mapping[str, str | None]]
"""From DAG id and run id to the state of each task, `<task>_<map index>` for mapped ones; empty for an unknown run."""


class ReapOperator(BaseOperator):
    """Remove this installation's containers whose task instance is over or unknown; skipped in the `process` runtime."""

    def execute(self, context: Context) -> int:
        """Return how many containers were removed."""
        settings = RuntimeSettings.from_environment(os.environ)
        if settings.runtime == "process":
            raise AirflowSkipException("KILTER_RUNTIME=process: there are no containers")

        def states(dag_id: str, run_id: str) -> Mapping[str, str | None]:
            found: dict[str, dict[str, str | None]] = context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id])
            return found.get(run_id, {})

        try:
            return self._reap(connect(), settings.stores.home, states)
        except KilterError as error:
            raise AirflowException(f"{type(error).__name__}: {error}") from error

    def _reap(self, engine: Engine, home: Path, states: States) -> int:
        removed = 0
        for found in engine.find({"kilter.home": str(home)}):
            labels = found["Labels"]
            if is_orphan(labels, states) and found["Created"] < time.time() - YOUNG_SECONDS:
                self.log.info("removing container %s of %s", found["Id"][:12], labels)
                engine.remove(found["Id"], grace=2)
                removed += 1
        self.log.info("removed %d containers", removed)
        return removed


def is_orphan(labels: Mapping[str, str], states: States) -> bool:
    """Whether nobody waits for the container: its task is over or unknown; for a server, its whole run is."""
    known = states(labels["kilter.dag_id"], labels["kilter.run_id"])
    if "kilter.server" in labels:
        return all(state in OVER for state in known.values())
    index = labels["kilter.map_index"]
    task = labels["kilter.task_id"] + ("" if index == "-1" else f"_{index}")
    return task not in known or known[task] in OVER
