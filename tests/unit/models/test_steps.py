"""The bundled models go through ingestion, training, the gate and drift monitoring as their files are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kilter.stores.models import read_part


def test_five_days_of_the_factory_give_a_candidate_that_is_surely_good_enough(factory: Any) -> None:
    bundled, version, metrics = factory
    assert metrics["accuracy"] > 0.8
    assert metrics["macro_f1"] > 0.78
    judgements = bundled.judge(version, bundled.start + timedelta(days=5))
    assert {name: judgement.verdict.value for name, judgement in judgements.items()} == {
        "thresholds": "passed",
        "against_champion": "inconclusive",
        "slices": "passed",
        "calibration": "inconclusive",
        "sanity": "passed",
        "provenance": "passed",
        "holdout_wear": "passed",
    }, "there is no champion, and a thousand test rows do not tell the slope of calibration"


def test_ten_days_of_flights_give_a_candidate_that_beats_the_usual_delay(flights: Any) -> None:
    end = flights.start + timedelta(days=10)
    assert flights.ingest(flights.start, end).rows > 8000
    version, metrics = flights.train(end)
    snapshot = flights.stores.registry.version("arrival_delay", version).snapshot
    known, minutes = (read_part(flights.stores.objects, snapshot, part).minutes_late for part in ("train", "test"))
    assert metrics["mae"] < (minutes - known.median()).abs().mean() - 0.5
    judgements = flights.judge(version, end)
    assert set(judgements) == {"thresholds", "against_champion", "slices", "sanity", "provenance", "holdout_wear"}
    assert {judgement.verdict.value for judgement in judgements.values()} == {"passed", "inconclusive"}
    assert f"mae has no interval: {len(minutes)} rows lie in too few blocks" in judgements["thresholds"].reason


def test_the_first_shift_of_another_recipe_is_drift_and_decay_and_the_first_one_back_is_neither(factory: Any) -> None:
    bundled, version, _ = factory
    told = {}
    for what, day in {"worn screws": 10, "recipe B": 15, "A again": 25}.items():
        start = bundled.start + timedelta(days=day)
        end = start + timedelta(hours=8)
        bundled.ingest(start, end)
        bundled.serve(version, start, end)
        judged = bundled.report(start, end)
        told[what] = [judged[name]["verdict"] for name in ("freshness", "data_drift", "performance")]
    assert told == {
        "worn screws": ["passed", "passed", "passed"],
        "recipe B": ["passed", "failed", "failed"],
        "A again": ["passed", "passed", "passed"],
    }
