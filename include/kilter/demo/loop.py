"""Driving the loop on history: Airflow does the work, this only plays the world around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy.engine import RowMapping

from kilter.core.rollout import OPEN
from kilter.demo.airflow import ENDED, Airflow
from kilter.demo.replay import Replay, months, next_month
from kilter.errors import KilterError, UnavailableError
from kilter.settings import Settings
from kilter.spec import ModelSpec
from kilter.stores.ledger import Ledger
from kilter.stores.objects import ObjectStore
from kilter.stores.registry import Registry

STAGES = (
    "feature_ingestion",
    "drift_monitoring",
    "drift_response",
    "continuous_training",
    "model_validation",
    "canary_promotion",
    "promotion_watch",
)
_POLL = 0.5
_PATIENCE = 600
_CANARY_RATE = 60
"""Requests a second while a canary runs."""
_GROUP = "origin"


@dataclass
class Loop:
    """One run of the demo over the months of a model's history.

    `say` is called with each line of progress.
    """

    spec: ModelSpec
    settings: Settings
    airflow: Airflow
    ledger: Ledger
    registry: Registry
    objects: ObjectStore
    say: Callable[[str], None]
    months: list[tuple[datetime, datetime]] = field(default_factory=list)
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def wait_for_dags(self) -> None:
        """Wait until Airflow has parsed every DAG; `KilterError` shows what it could not import."""
        wanted = {self._dag(stage) for stage in STAGES}
        deadline = time.monotonic() + _PATIENCE
        while missing := wanted - self.airflow.dag_ids():
            if errors := self.airflow.import_errors():
                raise KilterError("Airflow cannot import the DAGs:\n" + "\n".join(errors))
            if time.monotonic() > deadline:
                raise UnavailableError(f"Airflow has not parsed {', '.join(sorted(missing))}: see the logs of airflow")
            time.sleep(_POLL)

    def bootstrap(self, first: datetime, last: datetime) -> None:
        """Ingest the months from `first` to before `last` by a backfill, and bring up the first champion."""
        intervals = list(months(first, last))
        dag = self._dag("feature_ingestion")
        self.airflow.wait(dag, self.airflow.backfill(dag, first, intervals[-1][0]))
        self.say(f"ingested {first:%B} to {intervals[-1][0]:%B %Y} by a backfill")
        training = self._dag("continuous_training")
        conf = {"as_of": last.isoformat(), "reason": "bootstrap: there is no champion yet"}
        self.airflow.trigger(training, conf)
        self._follow()
        champion = self.registry.champion(self.spec.name)
        if champion is None:
            verdicts = self.ledger.verdicts(self.spec.name)
            raise KilterError(
                f"the first model was not promoted: {verdicts[-1]['reason'] if verdicts else 'no verdict'}"
            )
        self.say(f"version {champion} is the first champion")

    def live(self, first: datetime, last: datetime) -> None:
        """Live through the months from `first` to before `last`, if there are any.

        The month after each is ingested meanwhile: its flights are the traffic that a canary takes.
        """
        *self.months, after = months(first, next_month(last))
        if not self.months:
            return
        replay = self._ingest(*self.months[0])
        for (start, end), following in zip(self.months, [*self.months[1:], after], strict=True):
            replay.finish(self._client, self._url)
            self.say(f"{start:%B}: {replay.rows:,} flights asked in {replay.sent:,} requests, {replay.failed} failed")
            if replay.failed:
                raise KilterError(f"{replay.failed} requests failed: see the logs of haproxy and the model servers")
            monitoring = self.airflow.trigger(self._dag("drift_monitoring"), _interval(start, end))
            replay = self._ingest(*following)
            decision = self._decision(monitoring, start, end)
            if decision["action"] != "wait":
                self._follow(replay, decision["id"] if decision["action"] == "redeploy" else None)
                self.say(f"the champion is version {self.registry.champion(self.spec.name)}")

    def _ingest(self, start: datetime, end: datetime) -> Replay:
        """Ingest a month; return its flights as requests."""
        dag = self._dag("feature_ingestion")
        self.airflow.wait(dag, [self.airflow.trigger(dag, _interval(start, end))])
        self.say(f"{start:%B}: ingested")
        return Replay(self.spec, self.objects, start, _GROUP)

    def _decision(self, monitoring: str, start: datetime, end: datetime) -> RowMapping:
        """Wait for the monitoring of a window and for what the drift response makes of it."""
        self.airflow.wait(self._dag("drift_monitoring"), [monitoring])
        deadline = time.monotonic() + _PATIENCE
        while not (decided := [row for row in self.ledger.decisions(self.spec.name) if _on_report(row, end)]):
            self._refuse_failures()
            if time.monotonic() > deadline:
                raise UnavailableError(f"no decision on the window that ends {end}: see {self._dag('drift_response')}")
            time.sleep(_POLL)
        self.say(f"{start:%B}: decision {decided[-1]['action']}: {decided[-1]['reason']}")
        return decided[-1]

    def _follow(self, replay: Replay | None = None, returning: int | None = None) -> None:
        """Wait until training, gate and canary are through; requests flow while a rollout is open.

        Args:
            returning: the decision to bring an earlier version back, which needs no training and no gate.
        """
        seen = len(self.ledger.verdicts(self.spec.name))
        stop = threading.Event()
        traffic = threading.Thread(target=self._traffic, args=(replay, stop)) if replay else None
        if traffic:
            traffic.start()
        try:
            if returning is None:
                self._wait_for_verdict(seen)
            else:
                self._wait_for_return(returning)
            self._wait_until_quiet()
        finally:
            stop.set()
            if traffic:
                traffic.join()
        if returning is None:
            self._refuse_rollback()

    def _wait_for_return(self, decision: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while all(row["decision"] != decision for row in self.ledger.rollouts(self.spec.name)):
            self._refuse_failures()
            if time.monotonic() > deadline:
                raise UnavailableError(f"decision {decision} began no rollout: see {self._dag('canary_promotion')}")
            time.sleep(_POLL)

    def _refuse_rollback(self) -> None:
        """Demand that the newest version has become the champion."""
        newest = self.registry.versions(self.spec.name)[-1].version
        if self.registry.champion(self.spec.name) != newest:
            rollouts = [row for row in self.ledger.rollouts(self.spec.name) if row["candidate"] == newest]
            last = self.ledger.rollout_events(rollouts[-1]["id"])[-1]["reason"] if rollouts else "the gate refused it"
            raise KilterError(f"version {newest} did not become the champion: {last}")

    def _wait_for_verdict(self, seen: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while len(found := self.ledger.verdicts(self.spec.name)) == seen:
            self._refuse_failures()
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"no verdict on a candidate after {_PATIENCE} s: see {self._dag('model_validation')}"
                )
            time.sleep(_POLL)
        last = found[-1]
        self.say(f"gate: version {last['version']} {last['verdict']}, so {last['action']}: {last['reason']}")

    def _wait_until_quiet(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while any(run["state"] not in ENDED for run in self._runs() if not run["dag_id"].endswith(".drift_response")):
            self._refuse_failures()
            if time.monotonic() > deadline:
                raise UnavailableError(f"runs of {self.spec.name} have not ended after {_PATIENCE} s: see Airflow")
            time.sleep(_POLL)
        self._refuse_failures()

    def _traffic(self, replay: Replay, stop: threading.Event) -> None:
        """Send requests whenever a rollout is open, telling each step of it once."""
        shown: set[int] = set()
        while not stop.wait(_POLL):
            if _is_open(self.ledger.rollouts(self.spec.name)):
                replay.keep_asking(
                    self._client, self._url, _CANARY_RATE, lambda: self._tell_rollout(shown) and not stop.is_set()
                )
        self._tell_rollout(shown)

    def _tell_rollout(self, shown: set[int]) -> bool:
        """Tell new events of the newest rollout; return whether it is open."""
        rollouts = self.ledger.rollouts(self.spec.name)
        for event in self.ledger.rollout_events(rollouts[-1]["id"]) if rollouts else []:
            if event["id"] not in shown:
                shown.add(event["id"])
                self.say(f"canary {event['state']}: {event['reason']}")
        return _is_open(rollouts)

    def _refuse_failures(self) -> None:
        for run in self._runs():
            if run["state"] == "failed":
                raise self.airflow.failure(run["dag_id"], run["dag_run_id"])

    def _runs(self) -> list[dict[str, Any]]:
        return [run for run in self.airflow.runs("~") if run["dag_id"].startswith(f"{self.spec.name}.")]

    def _dag(self, stage: str) -> str:
        return f"{self.spec.name}.{stage}"

    @property
    def _url(self) -> str:
        return f"{self.settings.endpoint}/models/{self.spec.name}/invocations"


def _is_open(rollouts: Sequence[RowMapping]) -> bool:
    """Whether the newest of a model's rollouts is under way."""
    return bool(rollouts) and rollouts[-1]["state"] in OPEN


def _interval(start: datetime, end: datetime) -> dict[str, str]:
    return {"interval_start": start.isoformat(), "interval_end": end.isoformat()}


def _on_report(decision: RowMapping, end: datetime) -> bool:
    """Whether a decision was taken on the report of the window that ends then."""
    return bool(decision["event_time"] == end and decision["trigger"].startswith("reports/"))
