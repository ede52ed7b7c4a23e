"""Tasks that run only if an earlier task found something, without a branching task in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException


@dataclass(frozen=True)
class Fact:
    """What a step must have put out: `Fact("judge", "verdict", "passed")`."""

    task: str
    output: str
    value: Any

    def holds(self, context: Context) -> bool:
        """Whether it is so; a task that did not run put out nothing."""
        return bool(context["ti"].xcom_pull(task_ids=self.task, key=self.output) == self.value)

    def __str__(self) -> str:
        return f"{self.output} of '{self.task}' is {self.value!r}"


class Conditional(BaseOperator):
    """Skips itself unless one of the facts of `only_if` holds; without facts it always runs."""

    def __init__(self, *, only_if: Sequence[Fact] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only_if = tuple(only_if)

    def pre_execute(self, context: Context) -> None:
        """Skip the task when no fact holds."""
        if self.only_if and not any(fact.holds(context) for fact in self.only_if):
            raise AirflowSkipException(f"not needed: this runs only if {' or if '.join(map(str, self.only_if))}")
