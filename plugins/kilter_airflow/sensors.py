"""Waiting for drift reports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowException

from kilter.errors import KilterError
from kilter_airflow.triggers import UndecidedReportTrigger, undecided_report


class EvidentlyDriftSensor(BaseSensorOperator):
    """Wait until the ledger holds a drift report that no decision was taken on; return the report's key.

    Looks once at once, then leaves the waiting to the triggerer. When `timeout` passes without a report, the task is
    skipped.

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

    def execute(self, context: Context) -> str:
        """Return the report's key, or defer until there is one."""
        try:
            key = undecided_report(self.model)
        except KilterError as error:
            raise AirflowException(str(error)) from error
        if key is not None:
            return self._found(key)
        self.defer(
            trigger=UndecidedReportTrigger(self.model, self.poke_interval),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        raise AssertionError("defer never returns")

    def execute_complete(self, context: Context, event: dict[str, str]) -> str:
        """Return the key that the trigger found."""
        return self._found(event["report"])

    def _found(self, key: str) -> str:
        self.log.info("drift report %s waits for a decision", key)
        return key
