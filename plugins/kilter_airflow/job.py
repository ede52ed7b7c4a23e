"""One run of one step, as both runtimes start it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from kilter.spec import ModelSpec
from kilter.step import RunInfo, StepInfo, StepModel, result_key
from kilter_airflow.access import Access

LAST_LINES = 30
"""How many of its last lines a step's end is told with."""


@dataclass(frozen=True)
class StepJob:
    """What to run, where its result goes, and what it may reach.

    Args:
        code: digest of the code that must run.
        image: digest of the image that it runs in; in a plain process, of its installed packages.
        attempt: unique to this try of the task; part of the result's key unless the step is memoised.
        map_index: -1 for a task that is not mapped.
    """

    step: str
    info: StepInfo
    spec: ModelSpec
    inputs: StepModel
    run: RunInfo
    code: str
    image: str
    attempt: str
    map_index: int
    access: Access

    @cached_property
    def key(self) -> str:
        """Key under which the step commits its result."""
        attempt = "" if self.info.memoised else self.attempt
        return result_key(self.step, self.spec, self.inputs, self.code, self.image, attempt)

    @property
    def command(self) -> list[str]:
        """Arguments of `python -m kilter`."""
        return [
            *("step", self.step, "--model", self.spec.name, "--result", self.key),
            *("--inputs", self.inputs.model_dump_json(), "--run-info", self.run.model_dump_json()),
            *("--code", f"{self.code}:{self.spec.digest()}"),
        ]

    @property
    def gpus(self) -> int:
        return self.spec.resources.gpu if self.info.gpu else 0

    @property
    def owner(self) -> str:
        """Who holds what this try of the task holds: unique, and readable."""
        return f"{self.run.task_id} of {self.run.dag_id} in run {self.run.run_id}, attempt {self.attempt}"

    def as_attempt(self, attempt: str) -> StepJob:
        """The same job as an earlier try of the task would have started it."""
        return replace(self, attempt=attempt)


@dataclass(frozen=True)
class Ended:
    """How a step's process or container ended.

    Args:
        code: exit code; minus the signal's number when a process was killed.
        result: key under which it commits its result.
        lines: the last lines that it printed.
        out_of_memory: whether it was killed for going over its memory limit.
    """

    code: int
    result: str
    lines: tuple[str, ...] = ()
    out_of_memory: bool = False

    @property
    def sentence(self) -> str:
        """What it said last: the error it printed if there is one, else its last line."""
        for index, line in reversed(list(enumerate(self.lines))):
            name, colon, _ = line.partition(": ")
            if colon and name.isidentifier() and name.endswith("Error"):
                return "\n".join(self.lines[index:])
        return self.lines[-1] if self.lines else "it printed nothing"


def task_labels(run: RunInfo, map_index: int, home: Path) -> Mapping[str, str]:
    """Labels that name a task instance, in all its tries, of this installation only.

    Args:
        home: the home folder, which tells installations on one engine apart.
    """
    return {
        "kilter.home": str(home),
        "kilter.dag_id": run.dag_id,
        "kilter.run_id": run.run_id,
        "kilter.task_id": run.task_id,
        "kilter.map_index": str(map_index),
    }
