"""A new champion on probation: its labelled requests scored by its predecessor, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilter.stores.parquet import frame_to_parquet

from .conftest import Rides

FIRST_DAY = 4


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    """Four days, a predecessor trained on them, and version 2, promoted after it at their end."""
    rides = Rides(tmp_path_factory.mktemp("history"))
    for day in range(FIRST_DAY):
        rides.ingest(day, rides.learnable(day))
    rides.train(FIRST_DAY)
    rollout = rides.ledger.begin_rollout("rides", 2, 1)
    begun = {"watch_from": rides.day(FIRST_DAY)["start"]}
    for state in ("shadow", "shifting", "promoting", "promoted"):
        rides.ledger.advance_rollout(rides.ledger.rollout(rollout), state, 100, "", begun)  # type: ignore[arg-type]
    return rides


@pytest.fixture
def watched(rides: Rides, history: Rides) -> Rides:
    rides.become(history)
    return rides


def live_through(rides: Rides, *days: int, noise: float = 0.0, role: str = "champion") -> None:
    """Log what version 2 answered, the fare as a score with noise in it, and ingest the labels."""
    for day in days:
        frame = rides.learnable(day)
        random = np.random.default_rng(day)
        rows = frame[["ride_id", "started_at", "fare", "zone"]].assign(
            request_id="r",
            logged_at=pd.Timestamp("2024-02-01T00:00:00Z"),
            role=role,
            model_version=2,
            digest="d",
            score=frame.fare / 40 + random.normal(scale=noise, size=len(frame)),
        )
        span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (rows.started_at.min(), rows.started_at.max()))
        rides.objects.put(f"predictions/rides/{span}_champion_{day}.parquet", frame_to_parquet(rows))
        rides.ingest(day, frame)


def state(rides: Rides) -> str:
    return str(rides.ledger.rollout(1)["state"])


def looks(rides: Rides) -> list[Any]:
    return [event for event in rides.ledger.rollout_events(1) if "watched" in event["evidence"]]


def test_without_a_promotion_there_is_nothing_to_watch(rides: Rides) -> None:
    rides.ingest(0)
    assert rides.act("watch").action == "nothing"


def test_a_champion_as_good_as_its_predecessor_is_settled(watched: Rides) -> None:
    live_through(watched, FIRST_DAY, FIRST_DAY + 1)
    seen = watched.act("watch")
    assert (seen.action, seen.version) == ("settle", 2)
    assert "roc_auc lost to version 1, the predecessor, on the same 8" in seen.reason
    assert state(watched) == "settled"
    assert watched.act("watch").action == "nothing"


def test_a_champion_that_only_labels_unmask_is_to_be_rolled_back(watched: Rides) -> None:
    live_through(watched, FIRST_DAY, FIRST_DAY + 1, noise=3.0)
    seen = watched.act("watch")
    assert (seen.action, seen.version) == ("roll_back", 2)
    assert "> 0.01" in seen.reason
    assert state(watched) == "promoted", "the predecessor takes over first; then the ledger says so"


def test_without_labels_it_waits_and_the_same_labels_again_are_no_new_look(watched: Rides) -> None:
    assert watched.act("watch").action == "wait"
    live_through(watched, FIRST_DAY)
    assert watched.act("watch").action == "wait"
    assert watched.act("watch").action == "wait"
    assert [event["evidence"]["watched"]["figures"]["rows"] for event in looks(watched)] == [0, 412]
    assert "412 labelled requests so far: 500" in looks(watched)[-1]["reason"]
    live_through(watched, FIRST_DAY + 1)
    assert watched.act("watch").action == "settle"


def test_each_further_look_at_other_labels_may_be_wrong_half_as_often(watched: Rides) -> None:
    watched.change_spec(lambda text: text + "watch: {allowed_regression: 0.000001}\n")
    live_through(watched, FIRST_DAY, FIRST_DAY + 1, noise=0.3)
    watched.act("watch")
    live_through(watched, FIRST_DAY + 2, FIRST_DAY + 3, noise=0.3)
    watched.act("watch")
    measured = [event["evidence"]["watched"]["measured"][0]["confidence"] for event in looks(watched)]
    assert measured == pytest.approx([0.95, 0.975])


def test_copies_in_a_shadow_are_no_answers_of_a_champion(watched: Rides) -> None:
    live_through(watched, FIRST_DAY, FIRST_DAY + 1, noise=3.0, role="shadow")
    assert watched.act("watch").action == "wait"


@pytest.mark.parametrize(("unproven", "action"), [("keep", "settle"), ("roll_back", "roll_back")])
def test_what_stays_unproven_is_kept_or_rolled_back_as_the_spec_says(
    watched: Rides, unproven: str, action: str
) -> None:
    watched.change_spec(
        lambda text: text + f"watch: {{within: 1d, unproven: {unproven}, allowed_regression: 0.000001}}\n"
    )
    live_through(watched, FIRST_DAY, noise=0.05)
    seen = watched.act("watch")
    assert seen.action == action
    assert seen.reason.startswith("unproven by the labels of 1 day")


def test_a_predecessor_that_takes_what_the_requests_did_not_have_is_not_compared(watched: Rides) -> None:
    live_through(watched, FIRST_DAY, FIRST_DAY + 1)
    for key in watched.objects.list("predictions/rides/"):
        rows = pd.read_parquet(watched.home / "store" / key).drop(columns="zone")
        watched.objects.put(key, frame_to_parquet(rows))
    seen = watched.act("watch")
    assert seen.action == "wait"
    assert "version 1 takes zone, which the requests did not have" in seen.reason
