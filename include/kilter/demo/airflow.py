"""Airflow over its REST API and its command: what the demo needs of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from kilter.errors import KilterError, UnavailableError

ENDED = frozenset({"success", "failed"})
_POLL = 0.5
_PATIENCE = 600
_BUSY_SECONDS = 60


def database_url(home: Path) -> str:
    """Airflow's SQLite database in its home folder; one who writes waits up to a minute for another to finish."""
    return f"sqlite:///{home}/airflow.db?timeout={_BUSY_SECONDS}"


def make_database(home: Path) -> None:
    """Make the empty database, with a write-ahead log.

    In SQLite's usual mode everybody who reads holds up everybody who writes, and on a slow disk the parts of Airflow
    wait for each other until they give up. The mode stays with the file.
    """
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")


class Airflow:
    """A client of Airflow's REST API.

    Args:
        url: base URL of the API server.
        password: of user `admin`.
        command: the `airflow` command.
        environment: what that command needs to find the same Airflow.
    """

    def __init__(self, url: str, password: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._client = httpx.Client(base_url=url, timeout=_BUSY_SECONDS + 30)
        self._password = password
        self._command = command
        self._environment = environment

    def log_in(self) -> None:
        """Get a token; `UnavailableError` when the server refuses."""
        answer = self._client.post("/auth/token", json={"username": "admin", "password": self._password})
        if answer.status_code >= 400:
            raise UnavailableError(f"Airflow refused to log in user admin: {answer.status_code} {answer.text}")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def make_pool(self, name: str, slots: int) -> None:
        """Make a pool, or set its slots; Airflow never schedules tasks of a pool that is not there."""
        body = {"name": name, "slots": slots, "description": "Steps that ask for GPUs", "include_deferred": False}
        if self._client.post("/api/v2/pools", json=body).status_code != 201:
            self._answer(self._client.patch(f"/api/v2/pools/{name}", json=body))

    def dag_ids(self) -> set[str]:
        """Ids of the DAGs that Airflow has parsed."""
        return {dag["dag_id"] for dag in self._get("/api/v2/dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        """What Airflow could not import."""
        return [item["stack_trace"] for item in self._get("/api/v2/importErrors")["import_errors"]]

    def backfill(self, dag_id: str, start: datetime, end: datetime) -> list[str]:
        """Create a backfill of the intervals that start from `start` to `end`; return the ids of its runs.

        By the command, because the REST API locks itself out on SQLite when it creates a backfill.
        """
        before = {run["dag_run_id"] for run in self.runs(dag_id)}
        command = [*self._command, "backfill", "create", "--dag-id", dag_id]
        command += ["--from-date", start.isoformat(), "--to-date", end.isoformat()]
        made = subprocess.run(
            command, env={**os.environ, **self._environment}, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise KilterError(f"'{' '.join(command)}' failed:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
        return sorted({run["dag_run_id"] for run in self.runs(dag_id)} - before)

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run; return its id."""
        body = {"logical_date": None, "conf": conf}
        run_id: str = self._post(f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run_id

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Runs of a DAG, or of all DAGs when `dag_id` is `~`."""
        found: list[dict[str, Any]] = self._get(f"/api/v2/dags/{dag_id}/dagRuns", limit=1000)["dag_runs"]
        return found

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = self._get(path, limit=1000)["task_instances"]
        return found

    def output(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned; None when it returned nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self._client.get(path, params={"deserialize": True})
        return answer.json()["value"] if answer.status_code == 200 else None

    def wait(self, dag_id: str, run_ids: Iterable[str]) -> None:
        """Wait until runs have ended.

        Raises:
            KilterError: a run failed; names its failed tasks.
            UnavailableError: they have not ended after ten minutes.
        """
        waiting = set(run_ids)
        deadline = time.monotonic() + _PATIENCE
        while waiting:
            for run_id in list(waiting):
                state = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
                if state == "failed":
                    raise self.failure(dag_id, run_id)
                if state in ENDED:
                    waiting.remove(run_id)
            if time.monotonic() > deadline:
                raise UnavailableError(f"{dag_id}: {sorted(waiting)} have not ended after {_PATIENCE} s: see Airflow")
            if waiting:
                time.sleep(_POLL)

    def failure(self, dag_id: str, run_id: str) -> KilterError:
        """The error that tells which tasks of a run failed."""
        failed = [task["task_id"] for task in self.tasks(dag_id, run_id) if task["state"] == "failed"]
        return KilterError(
            f"run {run_id} of {dag_id} failed in: {', '.join(failed) or 'no task'}: see its log in Airflow"
        )

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._answer(self._client.get(path, params=parameters))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer(self._client.post(path, json=body))

    def _answer(self, answer: httpx.Response) -> Any:
        if answer.status_code >= 400:
            raise KilterError(
                f"Airflow answered {answer.request.method} {answer.request.url.path} with {answer.status_code}: {answer.text}"
            )
        return answer.json()
