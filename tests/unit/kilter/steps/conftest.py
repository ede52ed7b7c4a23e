"""A small model of taxi rides with real stores in a temporary folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilter.core.metrics import loss_metric
from kilter.encoding import Signature
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import Result, RunInfo, StepContext, Stores, load_step, parse_inputs, run_step
from kilter.stores.ledger import Ledger
from kilter.stores.models import read_part, save_model, to_part
from kilter.stores.objects import FileObjects
from kilter.stores.registry import MemoryRegistry, PipelineRun
from kilter.trainers import Part, TrainingRun, trainer

MODEL_YAML = """
name: rides
description: Whether a ride takes more than 20 minutes.
owner: tests
task: binary
entity: ride_id
timestamp: started_at
label: {column: slow, timestamp: ended_at, delay: 1h}
schedule: {cron: "0 0 * * *", start: 2024-01-01T00:00:00Z}
source:
  kind: files
  lookback: 1d
  tables:
    rides: {timestamp: started_at, key: [ride_id], path: data/*.parquet}
features:
  ttl: 1d
  online: 12h
  columns:
    - {name: fare}
    - {name: zone, kind: categorical, categories: [north, south]}
training: {trainer: xgboost, minimum_rows: 100}
evaluation: {metrics: [roc_auc], block: 30m}
gate: {thresholds: {roc_auc: 0.5}}
"""

FEATURES_PY = """
def build(tables, label_delay):
    return tables["rides"].select("ride_id", "started_at", "zone", "fare")


def labels(tables):
    rides = tables["rides"]
    ended = rides.filter(rides.ended_at.notnull())
    return ended.select("ride_id", "started_at", "ended_at", slow=(ended.minutes > 20).cast("int8"))
"""

_SHORT = {"{trainer: xgboost,": "{trainer: xgboost, rounds: 30, parameters: {max_depth: 3},"}

OF_TASK = {
    "multiclass": {
        "task: binary": "task: multiclass",
        "column: slow,": "column: pace, classes: [quick, usual, slow],",
        "[roc_auc], block": "[accuracy, log_loss, brier, macro_f1], slices: [zone], block",
        "gate: {": "watch: {minimum_rows: 100}\ngate: {",
        "{roc_auc: 0.5}": "{accuracy: 0.5, log_loss: 1, brier: 0.6, macro_f1: 0.5}, slices: {minimum_rows: 50}, "
        "against_champion: {minimum_rows: 100}",
        **_SHORT,
        'slow=(ended.minutes > 20).cast("int8")': (
            'pace=(ended.minutes > 24).ifelse("slow", (ended.minutes > 14).ifelse("usual", "quick"))'
        ),
    },
    "regression": {
        **_SHORT,
        "task: binary": "task: regression",
        "column: slow,": "column: duration,",
        "[roc_auc], block": "[mae, rmse, r2], slices: [zone], block",
        "{roc_auc: 0.5}": (
            "{mae: 6, rmse: 8, r2: 0.5}, against_champion: {minimum_rows: 100, allowed_regression: 0.5}, slices: {allowed_regression: 1, "
            "minimum_rows: 50}"
        ),
        "gate: {": "watch: {allowed_regression: 0.5, minimum_rows: 100}\ndrift: {allowed_decay: 1}\ngate: {",
        'slow=(ended.minutes > 20).cast("int8")': "duration=ended.minutes",
    },
}
"""What is written otherwise, in model.yaml and features.py, by task."""

EXPECTATIONS = {
    "tables": {
        "rides": {
            "ride_id": {"type": "text"},
            "started_at": {"type": "time"},
            "ended_at": {"type": "time", "nulls": 0.2},
            "zone": {"type": "text", "categories": ["north", "south"]},
            "fare": {"type": "number", "minimum": 0, "maximum": 500, "outliers": 0.01},
            "minutes": {"type": "number", "nulls": 0.2, "minimum": 0, "maximum": 600},
        }
    }
}

DAY = timedelta(days=1)


class Rides:
    """The model's folder and stores, and short ways to run its steps."""

    START = datetime(2024, 1, 1, tzinfo=UTC)

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "models/rides"
        self.settings = Settings.from_environment({"KILTER_HOME": str(home)})
        self.objects = FileObjects(home / "store")
        self.ledger = Ledger(self.settings.ledger)
        self.registry = MemoryRegistry()
        self.run_id = "run"
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "model.yaml").write_text(MODEL_YAML)
        (self.folder / "features.py").write_text(FEATURES_PY)
        (self.folder / "expectations.json").write_text(json.dumps(EXPECTATIONS))
        self.ledger.migrate()

    def become(self, other: Rides) -> None:
        """Take over all that another one holds except its spec, as a copy."""
        self.ledger.engine.dispose()
        shutil.copytree(other.home, self.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model.yaml"))
        self.registry = deepcopy(other.registry)

    def day(self, number: int) -> dict[str, str]:
        """Inputs for the interval of day `number`, counted from 0."""
        start = self.START + number * DAY
        return {"start": start.isoformat(), "end": (start + DAY).isoformat()}

    def frame(self, number: int, rows: int = 96) -> pd.DataFrame:
        """A day of good rides, one every 15 minutes by default; each tenth has no end."""
        times = pd.date_range(self.START + number * DAY, periods=rows, freq=DAY / rows)
        place = pd.Series(range(rows))
        minutes = (place * 7 % 40).astype(float).mask(place % 10 == 9)
        return pd.DataFrame(
            {
                "ride_id": [f"{number}-{index}" for index in place],
                "started_at": times,
                "ended_at": times + pd.to_timedelta(minutes, unit="m"),
                "zone": place.mod(2).map({0: "north", 1: "south"}),
                "fare": 5.0 + place % 30,
                "minutes": minutes,
            }
        )

    def deliver(self, number: int, frame: pd.DataFrame | None = None) -> None:
        """Put a day's file where the source looks for it; by default a good one."""
        found = self.frame(number) if frame is None else frame
        found.to_parquet(self.folder / f"data/{number}.parquet", index=False)

    def run(self, step: str, **inputs: Any) -> dict[str, Any]:
        """Run a step and return its outputs."""
        return self.result(step, **inputs).outputs

    def act(self, step: str, **inputs: Any) -> Any:
        """Run a step with the fake registry; returns its outputs."""
        return load_step(step).run(parse_inputs(step, inputs), self.context(step))

    def context(self, step: str) -> StepContext:
        """What a step gets, with the fake registry."""
        spec = load_spec(self.folder)
        stores = Stores(self.settings, spec)
        stores.__dict__["registry"] = self.registry
        run = RunInfo(dag_id="rides.test", run_id=self.run_id)
        return StepContext(spec, self.folder, stores, load_step(step).STEP, run)

    def train(self, day: int) -> Any:
        """Freeze what is known at the start of a day, train on it and register the candidate."""
        snapshot = self.run("freeze_dataset", as_of=self.day(day)["start"])["snapshot"]
        trained = self.run("train", snapshot=snapshot)
        made = {"snapshot": snapshot, "model": trained["model"]}
        evaluation = self.run("evaluate", **made)["evaluation"]
        profile = self.run("profile", snapshot=snapshot)["profile"]
        told = {"evaluation": evaluation, "profile": profile, "device": trained["device"], "reason": "test"}
        return self.act("register", **made, **told)

    def learnable(self, number: int) -> pd.DataFrame:
        """A day of 480 rides that are slow when they are dear, with some noise."""
        frame = self.frame(number, rows=480)
        random = np.random.default_rng(number)
        minutes = (frame.fare + random.normal(scale=6, size=len(frame))).clip(1, 60).where(frame.minutes.notna())
        return frame.assign(minutes=minutes, ended_at=frame.started_at + pd.to_timedelta(minutes, unit="m"))

    def candidate(
        self,
        snapshot: str,
        learn: Callable[[Part], Part] = lambda part: part,
        answers: dict[str, Any] | None = None,
        **changes: Any,
    ) -> int:
        """Register a version whose training saw `learn(train part)`.

        `answers` replaces task or classes of its signature, `changes` replace fields of its pipeline run.
        """
        spec = load_spec(self.folder)
        signature = Signature.of(spec)
        parts = {
            name: learn(to_part(read_part(self.objects, snapshot, name), signature, spec.label.column))
            for name in ("train", "validation")
        }
        signature = signature.model_copy(update=answers or {})
        loss = loss_metric(signature.task, spec.evaluation.primary)
        trained = trainer("xgboost").train(
            parts["train"], parts["validation"], TrainingRun(signature, spec.training, loss)
        )
        saved = save_model(self.objects, "rides", trained, signature, {"trainer": "xgboost", "loss": loss})
        run = {
            **{key: {} for key in ("parameters", "metrics", "tags")},
            **dict.fromkeys(("dataset", "dataset_digest", "evaluation"), ""),
            **{"model": "rides", "name": "candidate", "dataset_rows": 0, "snapshot": snapshot},
            **{"key": saved.key, "digest": saved.digest},
            **changes,
        }
        return self.registry.register(PipelineRun(**run), Path()).version

    def result(self, step: str, **inputs: Any) -> Result:
        return run_step(step, self.folder, inputs, RunInfo(), self.settings, logging.getLogger("test"))

    def ingest(self, number: int, frame: pd.DataFrame | None = None) -> dict[str, Any]:
        """Deliver a day and run extract, validate_batch and build_features; outputs of the last, with the verdict's."""
        self.deliver(number, frame)
        batch = self.run("extract", **self.day(number))["batch"]
        verdict = self.run("validate_batch", batch=batch, **self.day(number))
        if verdict["verdict"] != "passed":
            return verdict
        return verdict | self.run("build_features", batch=batch, **self.day(number))

    def turn(self, task: str) -> None:
        """Ask for the pace of a ride, one of three classes, or for its minutes, instead of whether it is slow."""
        for old, new in OF_TASK[task].items():
            for file in ("model.yaml", "features.py"):
                path = self.folder / file
                path.write_text(path.read_text().replace(old, new))

    def change_spec(self, change: Callable[[str], str]) -> None:
        """Rewrite model.yaml."""
        file = self.folder / "model.yaml"
        file.write_text(change(file.read_text()))


@pytest.fixture
def rides(tmp_path: Path) -> Rides:
    return Rides(tmp_path)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rides, str]:
    """Three learnable days and the training set of them, made once: making them takes longer than most tests."""
    rides = Rides(tmp_path_factory.mktemp("learned"))
    for day in range(3):
        rides.ingest(day, rides.learnable(day))
    return rides, str(rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"])


@pytest.fixture
def snapshot(rides: Rides, learned: tuple[Rides, str]) -> str:
    """A training set of three learnable days."""
    rides.become(learned[0])
    return learned[1]
