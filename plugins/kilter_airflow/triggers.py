"""What the triggerer watches for while no worker is busy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kilter.errors import UnavailableError
from kilter.settings import Settings


class UndecidedReportTrigger(BaseTrigger):
    """Fires with the key of a drift report that no decision was taken on.

    It keeps nothing in memory, so another triggerer can go on where a killed one stopped; and it is stored without the
    ledger's address, which may hold a password.

    Args:
        model: name of the model.
        interval: seconds between two looks into the ledger.
    """

    def __init__(self, model: str, interval: float) -> None:
        super().__init__()
        self.model = model
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "kilter_airflow.triggers.UndecidedReportTrigger", {"model": self.model, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is such a report; a ledger that does not answer is asked again."""
        while True:
            try:
                key = await asyncio.to_thread(undecided_report, self.model)
            except UnavailableError as error:
                self.log.warning("%s", error)
                key = None
            if key is not None:
                yield TriggerEvent({"report": key})
                return
            await asyncio.sleep(self.interval)


def undecided_report(model: str) -> str | None:
    """Key of the newest drift report if no decision was taken on it. Blocks on the ledger."""
    from kilter.stores.ledger import Ledger

    ledger = Ledger(Settings.from_environment(os.environ).ledger)
    try:
        report = ledger.undecided_report(model)
    finally:
        ledger.engine.dispose()
    return None if report is None else str(report["key"])
