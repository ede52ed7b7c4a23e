"""What a rollout does about a bad candidate that got past the gate, and what a person can do, on the demo's installation."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from kilter.demo.replay import Replay
from kilter.encoding import Signature
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.stores.ledger import Ledger
from kilter.stores.models import read_part, save_model, to_part
from kilter.stores.objects import open_objects
from kilter.stores.registry import MlflowRegistry, PipelineRun
from kilter.stores.router import Router
from kilter.trainers import Part, TrainingRun, trainer

from .conftest import MODEL, REPOSITORY, Demo, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
MAY, JUNE, JULY = (datetime(2013, month, 1, tzinfo=UTC) for month in (5, 6, 7))
RATE = 80


class Live:
    """The demo's installation, and what its users do with it."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.settings = Settings.from_environment(demo.environment)
        self.spec = load_spec(REPOSITORY / "include/models" / MODEL)
        self.ledger = Ledger(self.settings.ledger)
        self.registry = MlflowRegistry(self.settings.mlflow)
        self.objects = open_objects(self.settings.objects)
        self.airflow = demo.airflow_client()
        self.url = f"{self.settings.endpoint}/models/{MODEL}/invocations"

    def candidate(self, learn: Callable[[Part], Part]) -> int:
        """Register a version whose training saw `learn(part)` of what the champion was trained on."""
        signature = Signature.of(self.spec)
        champion = self.registry.version(MODEL, 2)
        train, validation = (
            learn(to_part(read_part(self.objects, champion.snapshot, part), signature, self.spec.label.column))
            for part in ("train", "validation")
        )
        told = TrainingRun(signature, self.spec.training, "log_loss")
        trained = trainer("xgboost").train(train, validation, told)
        saved = save_model(self.objects, MODEL, trained, signature, {"trainer": "xgboost"})
        names = dict.fromkeys(("name", "dataset", "dataset_digest", "evaluation"), "forced past the gate")
        run = PipelineRun(
            model=MODEL, key=saved.key, digest=saved.digest, snapshot=champion.snapshot,
            parameters={}, metrics={}, tags={}, dataset_rows=0, **names,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as shown:
            return self.registry.register(run, Path(shown)).version

    def trigger(self, stage: str, **conf: Any) -> str:
        return self.airflow.trigger(f"{MODEL}.{stage}", conf)

    def wait(self, stage: str, run: str) -> None:
        self.airflow.wait(f"{MODEL}.{stage}", [run])

    def rollout(self, version: int) -> Any:
        return self.ledger.newest_rollout(MODEL, version)

    def wait_for_state(self, version: int, *states: str) -> Any:
        wait_until(lambda: (row := self.rollout(version)) and row["state"] in states, f"version {version}: {states}")
        return self.rollout(version)

    def task_state(self, stage: str, run: str, task: str) -> str | None:
        tasks = self.airflow.tasks(f"{MODEL}.{stage}", run)
        return next((found["state"] for found in tasks if found["task_id"] == task), None)

    def ask(self, month: datetime) -> None:
        """Ask all of a month's flights once."""
        replay = Replay(self.spec, self.objects, month, "origin")
        with httpx.Client(timeout=30) as client:
            replay.finish(client, self.url)
        assert replay.failed == 0

    @contextmanager
    def traffic(self) -> Iterator[Replay]:
        """Requests at a fixed rate until the end of the block."""
        stop = threading.Event()
        replay = Replay(self.spec, self.objects, MAY, "origin")

        def run() -> None:
            with httpx.Client(timeout=30) as client:
                replay.keep_asking(client, self.url, RATE, lambda: not stop.is_set())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield replay
        finally:
            stop.set()
            thread.join()

    def answering(self) -> int:
        body = {"dataframe_records": [dict.fromkeys(self.spec.features.names)]}
        return int(httpx.post(self.url, json=body).raise_for_status().json()["model_version"])

    def kilter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.demo.kilter(*arguments)
        assert done.returncode == 0, done.stderr
        return done


def upside_down(part: Part) -> Part:
    """Every outcome is the other one."""
    return replace(part, labels=1 - part.labels)


def of_distance(part: Part) -> Part:
    """Late is whoever flies far, as often as before: scores look like any others, and mean nothing."""
    distance = part.rows[:, 4].astype(np.float64)
    rank = np.argsort(np.argsort(distance)) / len(distance)
    chance = part.labels.mean() * (0.2 + 1.6 * rank)
    labels = np.random.default_rng(7).random(len(rank)) < chance
    return replace(part, labels=labels.astype(part.labels.dtype))


@pytest.fixture(scope="module")
def live(demo: Demo) -> Live:
    """The installation with version 2 settled: May's flights were answered by it, and their labels are known."""
    installation = Live(demo)
    installation.ask(MAY)
    installation.wait("promotion_watch", installation.trigger("promotion_watch"))
    assert installation.rollout(2)["state"] == "settled"
    return installation


def test_a_bad_candidate_forced_past_the_gate_is_rolled_back_while_requests_flow(live: Live) -> None:
    version = live.candidate(upside_down)
    with live.traffic() as replay:
        live.wait("canary_promotion", live.trigger("canary_promotion", version=version))
        row = live.wait_for_state(version, "rolled_back")
    assert (replay.failed, live.answering(), live.registry.champion(MODEL)) == (0, 2, 2)
    events = live.ledger.rollout_events(row["id"])
    assert events[-1]["reason"].startswith("score higher surely worse than allowed")
    assert Router(live.settings.router).weights(MODEL) == {"champion": 100, "canary": 0}


def test_a_candidate_that_only_late_labels_unmask_is_held_resumed_promoted_and_reversed_by_the_watch(
    live: Live,
) -> None:
    version = live.candidate(of_distance)
    with live.traffic() as replay:
        run = live.trigger("canary_promotion", version=version)
        live.wait_for_state(version, "shifting")
        held = live.kilter("rollout", "hold", MODEL, "--reason", "complaints")
        assert f"version {version}: held" in held.stdout
        assert live.answering() == 2
        task = f"canary_{live.rollout(version)['weight']}"
        wait_until(lambda: live.task_state("canary_promotion", run, task) == "deferred", f"{task} waits")
        assert "hold: complaints" in live.kilter("rollout", "status", MODEL).stdout
        live.kilter("rollout", "resume", MODEL, "--reason", "looked into")
        live.wait("canary_promotion", run)
    assert replay.failed == 0
    assert (live.rollout(version)["state"], live.answering()) == ("promoted", version)

    live.ask(MAY)
    june = {"interval_start": JUNE.isoformat(), "interval_end": JULY.isoformat()}
    live.wait("feature_ingestion", live.trigger("feature_ingestion", **june))
    row = live.wait_for_state(version, "rolled_back")
    assert live.ledger.rollout_events(row["id"])[-1]["reason"].startswith("rollback: roc_auc lost to version 2")
    assert (live.registry.champion(MODEL), live.answering()) == (2, 2)
