"""join_labels → report_drift → arbitrate on rides, with real Evidently reports."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilter.errors import InputError
from kilter.stores.models import load_model
from kilter.stores.parquet import frame_to_parquet

from .conftest import Rides

SPEC = "drift: {minimum_rows: 100, share: 0.5, allowed_decay: 0.05}\narbiter: {cooldown: 1d, minimum_new_labels: 100}\n"


def live(rides: Any, day: int, dearer: float = 0.0, reversed_: bool = False) -> pd.DataFrame:
    """A day of rides that are slow when dear (or, reversed, when cheap), all of them `dearer`."""
    frame = rides.frame(day, rows=480)
    random = np.random.default_rng(day)
    base = 40 - frame.fare if reversed_ else frame.fare
    minutes = (base + random.normal(scale=6, size=len(frame))).clip(1, 60).where(frame.minutes.notna())
    return frame.assign(
        fare=frame.fare + dearer, minutes=minutes, ended_at=frame.started_at + pd.to_timedelta(minutes, unit="m")
    )


def serve(rides: Any, day: int, frame: pd.DataFrame, scored: pd.DataFrame | None = None, version: int = 1) -> None:
    """Log requests and what a version answers to them, or to other rows in their place."""
    model = load_model(rides.objects, rides.registry.version("rides", version).key)
    score = model.score(frame if scored is None else scored)
    rows = frame[["ride_id", "started_at", "fare", "zone"]].assign(
        request_id="r",
        logged_at=pd.Timestamp("2024-02-01T00:00:00Z"),
        role="champion",
        model_version=version,
        digest="d",
        score=score,
    )
    span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (rows.started_at.min(), rows.started_at.max()))
    rides.objects.put(f"predictions/rides/{span}_champion_{day}.parquet", frame_to_parquet(rows))


def report(rides: Any, day: int) -> Any:
    window = rides.run("join_labels", **rides.day(day))["window"]
    return rides.act("report_drift", window=window, **rides.day(day))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    """Three days and a champion trained on them, made once."""
    rides = Rides(tmp_path_factory.mktemp("history"))
    rides.change_spec(lambda text: text + SPEC)
    for day in range(3):
        rides.ingest(day, live(rides, day))
    rides.train(3)
    return rides


@pytest.fixture
def world(rides: Rides, history: Rides) -> Rides:
    """A copy of that history, for one test to continue."""
    rides.change_spec(lambda text: text + SPEC)
    rides.become(history)
    return rides


def test_a_day_like_the_days_before_passes_and_the_arbiter_waits(world: Any) -> None:
    frame = live(world, 3)
    world.ingest(3, frame)
    serve(world, 3, frame)
    outputs = report(world, 3)
    assert outputs.verdict == "passed"
    decision = world.act("arbitrate", report=outputs.report)
    assert decision.action == "wait"
    assert "no reason to retrain" in decision.reason
    for page in ("drift.html", "performance.html"):
        assert b"<html" in world.objects.get(f"{outputs.report}/{page}")


def test_a_reversed_world_is_decay_and_leads_to_one_retraining(world: Any) -> None:
    frame = live(world, 3, reversed_=True)
    world.ingest(3, frame)
    serve(world, 3, frame)
    outputs = report(world, 3)
    assert outputs.verdict == "failed"
    assert "performance failed: roc_auc" in outputs.reason
    first = world.act("arbitrate", report=outputs.report)
    again = world.act("arbitrate", report=outputs.report)
    assert first.action == "retrain"
    assert (again.decision, again.action) == (first.decision, "retrain")
    assert first.event_time.isoformat() == world.day(4)["start"]


def test_the_same_window_again_is_the_same_report(world: Any) -> None:
    frame = live(world, 3)
    world.ingest(3, frame)
    serve(world, 3, frame)
    assert report(world, 3).report == report(world, 3).report


def test_dearer_rides_are_data_drift_but_quality_that_held_outranks_it(world: Any) -> None:
    world.change_spec(lambda text: text.replace("share: 0.5", "share: 0.4"))
    frame = live(world, 3, dearer=100)
    world.ingest(3, frame)
    serve(world, 3, frame, scored=live(world, 3))
    outputs = report(world, 3)
    assert "data_drift failed: 1 of 2 columns drifted (50%): fare" in outputs.reason
    assert world.act("arbitrate", report=outputs.report).action == "wait"


def test_an_empty_window_is_inconclusive_and_retrains_nothing(world: Any) -> None:
    outputs = report(world, 3)
    assert outputs.verdict == "inconclusive"
    assert "0 rows < 100 needed" in outputs.reason
    assert world.act("arbitrate", report=outputs.report).action == "wait"


def test_a_column_that_went_empty_is_drift_and_not_a_fault(world: Any) -> None:
    frame = live(world, 3)
    world.ingest(3, frame)
    serve(world, 3, frame.assign(zone=None))
    outputs = report(world, 3)
    assert "null share beyond 50% allowed: zone 100%" in outputs.reason


def test_a_truncated_window_alerts_and_its_drift_is_doubted(world: Any) -> None:
    for day, rows in ((3, 480), (4, 200)):
        frame = live(world, day, dearer=100 * (day - 3))
        world.ingest(day, frame)
        serve(world, day, frame[-rows:], scored=live(world, day)[-rows:])
        outputs = report(world, day)
    assert (outputs.verdict, outputs.alert) == ("inconclusive", True)
    assert "freshness inconclusive: truncated: 200 rows of 480 usual ones, 41.67 % < 50 %" in outputs.reason
    assert "data_drift inconclusive: the window cannot be trusted" in outputs.reason


def test_a_report_is_a_run_in_mlflow_with_its_pages_and_figures(world: Any) -> None:
    frame = live(world, 3)
    world.ingest(3, frame)
    serve(world, 3, frame)
    outputs = report(world, 3)
    report(world, 3)
    ((key, (run, files)),) = world.registry.reports.items()
    assert (key, run.tags["kind"], run.tags["verdict"], run.tags["version"]) == (
        outputs.report,
        "drift_report",
        "passed",
        "1",
    )
    assert {"data_drift/fare", "prediction_drift/score", "roc_auc", "rows"} <= set(run.metrics)
    for name in ("drift", "predictions", "performance"):
        assert b"<html" in files[f"{name}.html"]
        assert json.loads(files[f"{name}.json"])["metrics"]
    assert (
        json.loads(files["report.json"])["judgements"]
        == json.loads(world.objects.get(f"{key}/report.json"))["judgements"]
    )


def test_an_unknown_report_is_refused(world: Any) -> None:
    with pytest.raises(InputError, match="no drift report"):
        world.act("arbitrate", report="reports/rides/none")
