"""The `process` runtime: the same command in a child process, where no container engine is wanted."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from logging import Logger
from pathlib import Path

from kilter.environment import environment_digest
from kilter_airflow.job import LAST_LINES, Ended, StepJob

_SET_PARENT_DEATH_SIGNAL = 1


class ProcessRuntime:
    """Runs a step in its own process group; without limits and without isolation.

    Nobody can re-attach to a process, so it dies with the task that started it: a retry never runs beside it.
    """

    image = ""

    @cached_property
    def environment(self) -> str:
        """What fixes the packages that steps import: their names and versions, as no image does."""
        return f"packages:{environment_digest()}"

    def __init__(self, models: Path, worker: Mapping[str, str], log: Logger) -> None:
        self._models = models
        self._worker = worker
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def resume(self, job: StepJob) -> Ended | None:
        """Nothing is ever left to resume."""
        return None

    def start(self, job: StepJob) -> Ended:
        """Run the step to its end, its lines going to the task's log."""
        self._log.info("KILTER_RUNTIME=process: step '%s' runs in a plain process, without a container", job.step)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kilter", *job.command],
            env=self._environment(job),
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        assert self._process.stdout
        lines: deque[str] = deque(maxlen=LAST_LINES)
        for line in self._process.stdout:
            self._log.info("%s", line.rstrip())
            lines.append(line.rstrip())
        return Ended(self._process.wait(), job.key, tuple(lines))

    def stop(self, grace: float) -> None:
        """End the process group: asked first, killed after `grace` seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _environment(self, job: StepJob) -> dict[str, str]:
        """The worker's environment without Airflow's own settings, which hold its secrets."""
        kept = {name: value for name, value in self._worker.items() if not name.startswith("AIRFLOW")}
        return kept | {"KILTER_MODELS": str(self._models)} | dict(job.access.environment)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
