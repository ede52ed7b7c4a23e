"""Waiting for what the ledger will hold: a drift report to decide on, or a rollout's turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowException

from kilter.errors import KilterError
from kilter_airflow.triggers import LedgerTrigger, TurnTrigger, UndecidedReportTrigger


class LedgerSensor(BaseSensorOperator):
    """Look into the ledger at once, then leave the waiting to the triggerer. When `timeout` passes, the task is skipped.

    Args:
        model: name of the model.
    """

    ui_color = "#e6dff2"

    def __init__(
        self,
        *,
        model: str,
        poke_interval: timedelta | float = 5,
        timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, soft_fail=True, **kwargs)
        self.model = model

    def trigger(self) -> LedgerTrigger:
        """What it waits for."""
        raise NotImplementedError

    def execute(self, context: Context) -> str:
        """Return what was found, or defer until there is something."""
        trigger = self.trigger()
        try:
            found = trigger.look()
        except KilterError as error:
            raise AirflowException(str(error)) from error
        if found is not None:
            return self._found(found)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))
        raise AssertionError("defer never returns")

    def execute_complete(self, context: Context, event: str) -> str:
        """Return what the trigger found."""
        return self._found(event)

    def _found(self, found: str) -> str:
        self.log.info("%s: found %s", self.task_id, found)
        return found


class EvidentlyDriftSensor(LedgerSensor):
    """Wait until the ledger holds a drift report that no decision was taken on; return the report's key.

    Args:
        unless: does not wait, and returns nothing, where this is not empty: a person's wish needs no report. Templated.
    """

    template_fields: Sequence[str] = ("unless",)

    def __init__(self, *, unless: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unless = unless

    def execute(self, context: Context) -> str:
        """Return the report's key, or nothing where none is wanted."""
        return "" if self.unless else super().execute(context)

    def trigger(self) -> LedgerTrigger:
        return UndecidedReportTrigger(self.poke_interval, model=self.model)


class TurnSensor(LedgerSensor):
    """Wait until no other candidate of the model is being rolled out, or promoted and not settled yet.

    Args:
        version: the candidate that waits; templated.
        fast: `True` where it comes back and waits for no probation; templated.
    """

    template_fields: Sequence[str] = ("version", "fast")

    def __init__(self, *, version: str | int, fast: str | bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.fast = fast

    def trigger(self) -> LedgerTrigger:
        fast = str(self.fast) == "True"
        return TurnTrigger(self.poke_interval, model=self.model, version=int(self.version), fast=fast)
