"""What the triggerer watches for in the ledger while no worker is busy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kilter.errors import UnavailableError
from kilter.settings import Settings

if TYPE_CHECKING:
    from kilter.stores.ledger import Ledger


class LedgerTrigger(BaseTrigger):
    """Fires with what it looks for as soon as the ledger holds it.

    It keeps nothing in memory, so another triggerer can go on where a killed one stopped; and it is stored without the
    ledger's address, which may hold a password.

    Args:
        interval: seconds between two looks into the ledger.
        facts: what a subclass asks by, such as the model.
    """

    def __init__(self, interval: float, **facts: Any) -> None:
        super().__init__()
        self.interval = interval
        self.facts = facts

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__name__}", {"interval": self.interval, **self.facts}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is there; a ledger that does not answer is asked again."""
        while True:
            try:
                found = await asyncio.to_thread(self.look)
            except UnavailableError as error:
                self.log.warning("%s", error)
                found = None
            if found is not None:
                yield TriggerEvent(found)
                return
            await asyncio.sleep(self.interval)

    def look(self) -> str | None:
        """What is in the ledger now; None while it is not there. Blocks on the ledger."""
        from kilter.stores.ledger import Ledger

        ledger = Ledger(Settings.from_environment(os.environ).ledger)
        try:
            return self.find(ledger)
        finally:
            ledger.engine.dispose()

    def find(self, ledger: Ledger) -> str | None:
        """What a subclass looks for."""
        raise NotImplementedError


class UndecidedReportTrigger(LedgerTrigger):
    """Fires with the key of a `model`'s newest drift report if no decision was taken on it."""

    def find(self, ledger: Ledger) -> str | None:
        report = ledger.undecided_report(self.facts["model"])
        return None if report is None else str(report["key"])


class RolloutMovedTrigger(LedgerTrigger):
    """Fires with the state of a `rollout` that is not held any more."""

    def find(self, ledger: Ledger) -> str | None:
        state = str(ledger.rollout(self.facts["rollout"])["state"])
        return None if state == "held" else state


class TurnTrigger(LedgerTrigger):
    """Fires when nothing is in the way of a `version` of a `model`: no other rollout is under way, or not settled unless `fast`."""

    def find(self, ledger: Ledger) -> str | None:
        facts = self.facts
        return None if ledger.in_the_way(facts["model"], facts["version"], facts.get("fast", False)) else "free"
