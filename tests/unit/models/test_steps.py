"""The bundled models go through feature_ingestion, continuous_training and the gate as their files are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any


def test_two_days_of_the_factory_give_a_candidate_that_is_surely_good_enough(bundled: Any) -> None:
    factory = bundled("factory_line")
    end = factory.spec.schedule.start + timedelta(days=2)
    assert factory.ingest(factory.spec.schedule.start, end).rows == 2 * 1440
    version, metrics = factory.train(end)
    assert metrics["accuracy"] > 0.75
    assert metrics["macro_f1"] > 0.7
    verdicts = {name: judgement.verdict.value for name, judgement in factory.judge(version).items()}
    assert verdicts == {
        "thresholds": "passed",
        "against_champion": "inconclusive",
        "slices": "inconclusive",
        "calibration": "inconclusive",
        "sanity": "passed",
        "provenance": "passed",
        "holdout_wear": "passed",
    }, "400 test rows are too few for slices and calibration, and there is no champion"


def test_eight_days_of_flights_give_a_candidate_that_beats_any_one_guess_of_the_minutes(bundled: Any) -> None:
    flights = bundled("arrival_delay")
    end = flights.spec.schedule.start + timedelta(days=8)
    assert flights.ingest(flights.spec.schedule.start, end).rows > 6000
    version, metrics = flights.train(end)
    assert metrics["mae"] < 15.67, "what the median of the test part itself would give"
    judgements = flights.judge(version)
    assert set(judgements) == {"thresholds", "against_champion", "slices", "sanity", "provenance", "holdout_wear"}
    assert {judgement.verdict.value for judgement in judgements.values()} == {"passed", "inconclusive"}
    assert "mae has no interval: 650 rows lie in too few blocks" in judgements["thresholds"].reason
