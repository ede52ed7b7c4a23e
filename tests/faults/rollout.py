"""One rollout as the DAG `canary_promotion` plays it: each step a process, started again when it ends badly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

from tests.contract.serving.conftest import MODEL

from .world import World

TRIES = 3
"""As in Airflow: once, and twice again."""
PAUSE = 0.3
"""Seconds before a step is tried again; Airflow's first pause is about 10."""
WEIGHTS = (25, 50, 100)
STAGED, PROMOTING, ROLLING_BACK = "staged", "promoting", "rolling back"
PROMOTED, GIVING_BACK = "promoted", "giving back"


@dataclass(frozen=True)
class Task:
    """A task of the DAG: the state in which it runs, its step, and its inputs beside the rollout."""

    state: str
    step: str
    weight: int | None = None


TASKS = (
    Task(STAGED, "stage"),
    Task("shadow", "shadow"),
    *(Task(f"{weight} %", "canary", weight) for weight in WEIGHTS),
    Task(PROMOTING, "promote"),
)
"""What leads to a new champion, in this order; `roll_back` always follows."""
CLIMB = tuple(task.state for task in TASKS)
STATES = (*CLIMB, ROLLING_BACK, PROMOTED, GIVING_BACK)


class Process:
    """A step in a process of its own."""

    def __init__(self, world: World, step: str, inputs: dict[str, object]) -> None:
        command = [sys.executable, "-m", "kilter", "step", step, "--model", MODEL, "--inputs", json.dumps(inputs)]
        self.step = step
        self._log = world.home / "step.log"
        self._out = world.home / "step.json"
        environment = os.environ | world.settings.to_environment()
        with self._log.open("wb") as log, self._out.open("wb") as out:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=log)

    @property
    def working(self) -> bool:
        """Whether `run()` of the step has begun."""
        return f"step {self.step} of {MODEL} starts" in self.log

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def code(self) -> int:
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def outputs(self) -> dict[str, Any]:
        """What the step told; only after it ended well."""
        outputs: dict[str, Any] = json.loads(self._out.read_text())["outputs"]
        return outputs


def first_champion(world: World, version: int) -> None:
    """Make a version the champion where there is none."""
    staged = _finish(Process(world, "stage", {"version": version}))
    _finish(Process(world, "promote", {"rollout": staged["rollout"]}))


def _finish(process: Process) -> dict[str, Any]:
    assert process.code == 0, process.log
    return process.outputs()


class Disturber(Protocol):
    """Does something while tasks run."""

    def enter(self, state: str) -> None:
        """A task of this state is about to run."""

    def during(self, process: Process) -> None:
        """Called again and again while a task's process runs, and once when it has ended."""


class Rollout:
    """One candidate, from `stage` to `roll_back`.

    Args:
        leave: after this state the run is broken off, as when Airflow's tasks fail for good, and rolled back.
    """

    def __init__(self, world: World, candidate: int, disturber: Disturber, leave: str | None = None) -> None:
        self.candidate = candidate
        self.failures: list[str] = []
        """Steps that did not end well however often they were tried."""
        self._world = world
        self._disturber = disturber
        self._leave = leave
        self._rollout: int | None = None

    def play(self) -> str:
        """Play all tasks; return the ledger's state of the rollout."""
        for task in TASKS:
            if not self._climb(task) or task.state == self._leave:
                break
        if self._state() != PROMOTED:
            self._disturber.enter(ROLLING_BACK)
        self._run("roll_back", {"version": self.candidate})
        return self._state()

    def give_back(self) -> str:
        """Bring the predecessor back, as `watch` does when labels unmask a new champion; return the ledger's state."""
        self._disturber.enter(GIVING_BACK)
        self._run("control_rollout", {"action": "rollback", "reason": "a drill", "version": self.candidate})
        return self._state()

    def _state(self) -> str:
        row = self._world.ledger.newest_rollout(MODEL, self.candidate)
        return row["state"] if row else "never began"

    def _climb(self, task: Task) -> bool:
        """Run a task; whether the next one may begin."""
        self._disturber.enter(task.state)
        inputs: dict[str, object] = {"version": self.candidate} if task.step == "stage" else {"rollout": self._rollout}
        outputs = self._run(task.step, inputs | ({} if task.weight is None else {"weight": task.weight}))
        if outputs is None or outputs.get("verdict", "passed") != "passed":
            return False
        self._rollout = outputs.get("rollout", self._rollout)
        return True

    def _run(self, step: str, inputs: dict[str, object]) -> dict[str, Any] | None:
        """The step's outputs, or None when it did not end well in any try."""
        for _ in range(TRIES):
            process = Process(self._world, step, inputs)
            while not process.ended:
                self._disturber.during(process)
                time.sleep(0.004)
            self._disturber.during(process)
            if process.code == 0:
                return process.outputs()
            time.sleep(PAUSE)
        self.failures.append(f"{step}: exit code {process.code}: {process.log.splitlines()[-1:]}")
        return None
