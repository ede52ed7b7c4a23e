"""The `process` runtime: the same command in a child process, where no container engine is wanted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from logging import Logger

import psutil

from kilter.environment import environment_digest
from kilter.errors import DeviceError
from kilter.workers import die_with_parent
from kilter_airflow.gpus import GpuLender
from kilter_airflow.job import LAST_LINES, Ended, StepJob
from kilter_airflow.settings import RuntimeSettings

LEASE_VARIABLE = "KILTER_LEASE"
"""Owner of the GPUs that a process, and all that it starts, was given."""

_KILLED_WITHIN = 1.0
"""Seconds that the kernel gets to end a process that is killed."""


class Machine:
    """This machine and its processes."""

    words = "this machine"

    def identity(self) -> str:
        """Its name in the network."""
        return socket.gethostname()

    def holds(self, owner: str) -> bool:
        """Whether a process with this owner's GPUs lives, also one that outlives its task."""
        return any(_environment_of(process).get(LEASE_VARIABLE) == owner for process in psutil.process_iter())


class ProcessRuntime:
    """Runs a step in its own process group; without limits and without isolation.

    Nobody can re-attach to a process, so it dies with the task that started it: a retry never runs beside it.
    """

    image = ""

    @cached_property
    def environment(self) -> str:
        """What fixes the packages that steps import: their names and versions, as no image does."""
        return f"packages:{environment_digest()}"

    def __init__(self, settings: RuntimeSettings, worker: Mapping[str, str], log: Logger) -> None:
        self._models = settings.stores.models
        self._worker = worker
        self._log = log
        self._gpus = GpuLender(Machine(), settings, log)
        self._process: subprocess.Popen[str] | None = None
        self._owner = ""

    def resume(self, job: StepJob) -> Ended | None:
        """Nothing is ever left to resume."""
        return None

    def start(self, job: StepJob) -> Ended:
        """Run the step to its end, its lines going to the task's log."""
        self._log.info("KILTER_RUNTIME=process: step '%s' runs in a plain process, without a container", job.step)
        try:
            with self._gpus.lent(job.owner, job.gpus) as devices:
                return self._follow(self._begin(job, devices), job)
        except DeviceError as error:
            if job.spec.resources.fallback != "cpu":
                raise DeviceError(f"step '{job.step}' of '{job.spec.name}': {error}") from None
            self._log.warning("no GPU on this machine: the step runs on the CPU (resources.fallback: cpu): %s", error)
        return self._follow(self._begin(job, ()), job)

    def stop(self, grace: float) -> None:
        """End the process group: asked first, killed after `grace` seconds; and give its GPUs back."""
        self._gpus.stop()
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILLED_WITHIN)
        if self._owner:
            self._gpus.give_back(self._owner)

    def _begin(self, job: StepJob, gpus: tuple[str, ...]) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "kilter", *job.command],
            env=self._environment(job, gpus),
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            if gpus:
                self._owner = job.owner
                self._gpus.confirm(job.owner, len(gpus))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return process

    def _follow(self, process: subprocess.Popen[str], job: StepJob) -> Ended:
        assert process.stdout
        lines: deque[str] = deque(maxlen=LAST_LINES)
        for line in process.stdout:
            self._log.info("%s", line.rstrip())
            lines.append(line.rstrip())
        return Ended(process.wait(), job.key, tuple(lines))

    def _environment(self, job: StepJob, gpus: tuple[str, ...]) -> dict[str, str]:
        """The worker's environment without Airflow's own settings, which hold its secrets, and with these GPUs alone."""
        kept = {name: value for name, value in self._worker.items() if not name.startswith("AIRFLOW")}
        return (
            kept
            | {"KILTER_MODELS": str(self._models)}
            | dict(job.access.environment)
            # CUDA counts devices in nvidia-smi's order only when told to.
            | {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID", LEASE_VARIABLE: job.owner}
        )


def _environment_of(process: psutil.Process) -> Mapping[str, str]:
    """Its variables; none of one that has ended, or that is another user's and so no step of ours."""
    try:
        found: dict[str, str] = process.environ()
    except (psutil.Error, OSError):
        return {}
    return found
