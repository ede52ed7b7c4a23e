"""The schedule of a model's intervals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable


class IntervalTimetable(CronDataIntervalTimetable):
    """One run for each cron interval in UTC, until `end`.

    A DAG's own `end_date` would also end manual runs: Airflow never starts their tasks after it. Here a manual
    run after `end` gets the last interval before it.

    Args:
        cron: cron line that separates the intervals.
        end: where the data ends; None for data that goes on.
    """

    def __init__(self, cron: str, end: datetime | None = None) -> None:
        super().__init__(cron, "UTC")
        self._end = pendulum.instance(end) if end else None

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalTimetable:
        return cls(data["cron"], datetime.fromisoformat(data["end"]) if data["end"] else None)

    def serialize(self) -> dict[str, Any]:
        return {"cron": self._expression, "end": self._end.isoformat() if self._end else None}

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        info = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        return None if info and self._end and info.data_interval.end > self._end else info

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        return super().infer_manual_data_interval(run_after=min(run_after, self._end or run_after))
