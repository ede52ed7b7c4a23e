"""Steps by plain `docker run`: the command, image, mounts and hardening that Airflow uses, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from installation import Installation

from kilter.errors import KilterError
from kilter.services import executable, free_port
from kilter.step import Result, RunInfo, StepInfo, code_digest, load_step, parse_inputs, read_result
from kilter_airflow.access import Access, access_of
from kilter_airflow.job import StepJob


@dataclass(frozen=True)
class Ran:
    """A step that ran in a container.

    Args:
        created: Unix time at which the engine had its order, `started` when its first process ran.
        printed: what the step wrote to standard error.
    """

    result: Result
    created: float
    started: float
    printed: str

    @property
    def outputs(self) -> dict[str, Any]:
        return self.result.outputs


class Plain:
    """Runs steps of the benchmark's model one after the other; a result that is there already is never reused."""

    def __init__(self, place: Installation) -> None:
        self._place = place
        self._spec = place.loop.spec
        self._client = executable("docker", "'make engine' installs Docker on Debian")
        settings = place.runtime
        self._image = self._docker("image", "inspect", "--format", "{{.Id}}", settings.step_image)
        self._code = code_digest(settings.stores.models / self._spec.name)
        self.inside = 0.0
        """Seconds spent inside `run()` so far."""

    def run(self, step: str, /, **inputs: Any) -> dict[str, Any]:
        """Run a step by `docker run --rm`; return its outputs."""
        job = self._job(step, inputs)
        self._docker("run", "--rm", *self._flags(job.access), job.image, *job.command)
        return self._result(job).outputs

    def observe(self, step: str, environment: Mapping[str, str], /, **inputs: Any) -> Ran:
        """The same in single orders to the engine, to see when the container was created and started."""
        job = self._job(step, inputs)
        added = [word for item in environment.items() for word in ("--env", "=".join(item))]
        identity = self._docker("create", *self._flags(job.access), *added, job.image, *job.command)
        try:
            self._docker("start", identity)
            code = self._docker("wait", identity)
            printed = self._docker("logs", identity, errors=True)
            if code != "0":
                raise KilterError(f"step '{step}' failed with exit code {code}:\n{printed[-2000:]}")
            facts = json.loads(self._docker("inspect", identity))[0]
        finally:
            self._docker("rm", "--force", identity)
        return Ran(self._result(job), _seconds(facts["Created"]), _seconds(facts["State"]["StartedAt"]), printed)

    @contextmanager
    def server(self, version: int) -> Iterator[str]:
        """A serving container that holds a version, as `model_validation` starts one; its base URL."""
        held = self._place.loop.registry.version(self._spec.name, version)
        port = free_port()
        access = access_of(StepInfo(), self._spec, self._place.runtime, os.environ, calls=True)
        command = ["serve", "--role", "canary", "--hold", f"{self._spec.name}:{version}:{held.digest}"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        image = self._place.runtime.serving_image
        identity = self._docker("run", "--detach", *self._flags(access, ",readonly"), image, *command)
        try:
            _await_answer(f"http://127.0.0.1:{port}/ping")
            yield f"http://127.0.0.1:{port}"
        finally:
            self._docker("stop", "--time", "2", identity)
            self._docker("rm", identity)

    def _job(self, step: str, inputs: Mapping[str, Any]) -> StepJob:
        info = load_step(step).STEP
        settings = self._place.runtime
        return StepJob(
            step=step,
            info=info,
            spec=self._spec,
            inputs=parse_inputs(step, inputs),
            run=RunInfo(dag_id="benchmark", task_id=step, image=self._image),
            code=self._code,
            image=self._image,
            attempt=uuid.uuid4().hex,
            map_index=-1,
            access=access_of(info, self._spec, settings, os.environ, calls="endpoint" in inputs),
        )

    def _result(self, job: StepJob) -> Result:
        result = read_result(self._place.loop.objects, job.key)
        assert result is not None, f"{job.step} left no result"
        self.inside += result.seconds
        return result

    def _flags(self, access: Access, mounting: str = "") -> list[str]:
        settings, resources = self._place.runtime, self._spec.resources
        mounts = [f"type=bind,source={folder},target={folder}{mounting}" for folder in access.folders]
        environment = {**access.environment, "HOME": "/tmp", "PYTHONUNBUFFERED": "1"}
        return [
            *("--read-only", "--tmpfs", "/tmp:rw,nosuid,nodev,mode=1777", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges:true", "--pids-limit", str(resources.pids)),
            *("--memory", resources.memory, "--memory-swap", resources.memory, "--cpus", str(resources.cpus)),
            *("--network", settings.step_network if access.network else "none", "--user", settings.step_user),
            *("--label", f"kilter.home={settings.stores.home}"),
            *(word for mount in mounts for word in ("--mount", mount)),
            *(word for item in environment.items() for word in ("--env", "=".join(item))),
        ]

    def _docker(self, *arguments: str, errors: bool = False) -> str:
        """Run the client; return what it printed, or with `errors` what it printed as errors."""
        done = subprocess.run([self._client, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise KilterError(f"'docker {' '.join(arguments)}' failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stderr if errors else done.stdout.strip()


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)
