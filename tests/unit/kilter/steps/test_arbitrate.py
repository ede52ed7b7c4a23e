"""arbitrate on rides: who comes back, one retraining at most, and what else leads to a decision."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from kilter.errors import InputError
from kilter.regime_rows import regime_of
from kilter.returning import evidence_of
from kilter.stores.models import load_model

from .conftest import Rides
from .test_drift_steps import SPEC, live, report, serve

HOUR = timedelta(hours=1)


def crown(rides: Any, version: int, decision: int | None = None, state: str = "settled") -> int:
    """Make a version the champion, as a rollout does."""
    ledger, champion = rides.ledger, rides.registry.champion("rides")
    rollout: int = ledger.begin_rollout("rides", version, champion, decision is not None, decision)
    steps = ("promoting", "settled") if champion is None else ("shadow", "shifting", "promoting", "promoted", state)
    for step in steps:
        ledger.advance_rollout(ledger.rollout(rollout), step, 100, "why")
    found = rides.registry.version("rides", version)
    regime = regime_of(rides.objects, found.snapshot, load_model(rides.objects, found.key))
    ledger.record_regime("rides", version, regime.model_dump(mode="json"))
    rides.registry.set_alias("rides", "champion", version)
    return rollout


def learn(rides: Any, first: int, last: int) -> int:
    """Train on the days from `first` until before `last`, and register."""
    spans = [[rides.day(first)["start"], rides.day(last)["start"]]]
    scope = {"kind": "recent", "spans": spans}
    snapshot = rides.run("freeze_dataset", as_of=rides.day(last)["start"], scope=scope)["snapshot"]
    trained = rides.run("train", snapshot=snapshot)
    found = {"snapshot": snapshot, "model": trained["model"]}
    found["evaluation"] = rides.run("evaluate", **found)["evaluation"]
    found |= {"profile": rides.run("profile", snapshot=snapshot)["profile"], "device": trained["device"]}
    return int(rides.act("register", **found).version)


def decided(rides: Any, day: int) -> None:
    """Let the newest version be one that was trained because quality had decayed by this day; its retraining has ended."""
    evidence = {"judgements": [{"name": "decay", "verdict": "failed"}]}
    row = {"trigger": "reports/rides/first", "action": "retrain", "reason": "decayed", "evidence": evidence}
    with rides.ledger.deciding("rides") as deciding:
        deciding.record(HOUR, event_time=datetime.fromisoformat(rides.day(day)["start"]), **row)
    rides.ledger.end_retraining("rides", "done", begun_by="decision 1")


def window(rides: Any, day: int, labels: bool = True, version: int = 2, **world: Any) -> str:
    """Live through a day; the key of its report."""
    frame = live(rides, day, **world)
    if labels:
        rides.ingest(day, frame)
    serve(rides, day, frame, version=version)
    return str(report(rides, day).report)


@pytest.fixture(scope="module")
def two_worlds(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    """Version 1 of three days in which dear rides are slow, version 2 of three dearer days in which cheap ones are."""
    rides = Rides(tmp_path_factory.mktemp("two_worlds"))
    rides.change_spec(lambda text: text + SPEC)
    for day in range(3):
        rides.ingest(day, live(rides, day))
    crown(rides, learn(rides, 0, 3))
    for day in range(3, 6):
        rides.ingest(day, live(rides, day, dearer=100, reversed_=True))
    second = learn(rides, 3, 6)
    decided(rides, 6)
    crown(rides, second)
    return rides


@pytest.fixture
def world(rides: Rides, two_worlds: Rides) -> Rides:
    """A copy of it, for one test to continue."""
    rides.change_spec(lambda text: text + SPEC)
    rides.become(two_worlds)
    return rides


def test_with_fresh_labels_the_version_that_is_surely_better_comes_back(world: Any) -> None:
    decision = world.act("arbitrate", report=window(world, 6))
    assert (decision.action, decision.version) == ("redeploy", 1)
    assert "version 1 against version 2 on" in decision.reason
    assert "as good as it was" in decision.reason
    *_, row = world.ledger.decisions("rides")
    assert (row["version"], row["evidence"]["rivals"][0]["basis"]) == (1, "labels")
    assert len(world.ledger.retrainings("rides")) == 1


def test_without_labels_the_version_comes_back_whose_regime_the_rows_look_like(world: Any) -> None:
    decision = world.act("arbitrate", report=window(world, 6, labels=False))
    assert (decision.action, decision.version) == ("redeploy", 1)
    assert "version 1's regime is" in decision.reason
    assert "the champion's is gone: version 2's regime is" in decision.reason
    *_, row = world.ledger.decisions("rides")
    assert row["evidence"]["rivals"][0]["basis"] == "fingerprint"


def test_a_world_never_seen_before_leads_to_a_retraining(world: Any) -> None:
    decision = world.act("arbitrate", report=window(world, 6, dearer=300))
    assert (decision.action, decision.scope["kind"]) == ("retrain", "recent")
    assert f"trained on recent: {decision.scope['reason']}" in decision.reason
    assert world.ledger.retrainings("rides")[-1]["begun_by"] == f"decision {decision.decision}"
    *_, row = world.ledger.decisions("rides")
    assert row["evidence"]["rivals"][0]["verdict"] == "failed"
    assert row["retraining"] == 2


def test_where_nothing_is_wrong_nobody_is_compared(world: Any) -> None:
    decision = world.act("arbitrate", report=window(world, 6, dearer=100, reversed_=True))
    assert decision.action == "wait", decision.reason
    *_, row = world.ledger.decisions("rides")
    assert all(item["verdict"] == "failed" for item in row["evidence"]["rivals"])


def test_a_hundred_alarms_are_one_retraining_and_each_says_what_it_was_folded_into(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = window(world, 6, dearer=300)
    # Steps have a process each; in threads they would share DuckDB's connection.
    told = world.ledger.report("rides", key)
    found = evidence_of(told, told["window_end"], world.context("arbitrate"))
    monkeypatch.setattr("kilter.steps.arbitrate.evidence_of", lambda *_: found)
    first = world.ledger.report("rides", key)
    for number in range(11):
        row = {name: first[name] for name in ("model", "window_start", "window_end", "summary")}
        world.ledger.record_report(**row, key=f"{key}-{number}")
    with ThreadPoolExecutor(6) as pool:
        decisions = list(pool.map(lambda n: world.act("arbitrate", report=f"{key}-{n}" if n else key), range(11)))
    assert Counter(item.action for item in decisions) == {"retrain": 1, "wait": 10}
    *_, retraining = world.ledger.retrainings("rides")
    for row in world.ledger.decisions("rides")[1:]:
        assert row["retraining"] == retraining["id"]
        if row["action"] == "wait":
            assert "folded into retraining 2, begun by decision" in row["reason"]


def test_of_two_returns_at_once_one_begins(world: Any) -> None:
    key = window(world, 6)
    first = world.ledger.report("rides", key)
    row = {name: first[name] for name in ("model", "window_start", "window_end", "summary")}
    world.ledger.record_report(**row, key=f"{key}-again")
    decisions = [world.act("arbitrate", report=report) for report in (key, f"{key}-again")]
    assert decisions[0].action == "redeploy"
    # Whatever the second one says, it brings nobody back a second time.
    assert decisions[1].action != "redeploy"


def test_a_window_that_another_version_served_tells_nothing_of_the_champion(world: Any) -> None:
    decision = world.act("arbitrate", report=window(world, 6, version=1, dearer=100, reversed_=True))
    assert decision.action == "wait", decision.reason
    *_, row = world.ledger.decisions("rides")
    assert {item["name"] for item in row["evidence"]["judgements"]} <= {"decay", "worth"}


def test_a_version_that_came_back_in_vain_is_not_tried_again_so_soon(world: Any) -> None:
    world.change_spec(lambda text: text.replace("cooldown: 1d", "cooldown: 5d"))
    first = world.act("arbitrate", report=window(world, 6))
    rollout = crown(world, 1, decision=first.decision, state="promoted")
    for state in ("giving_back", "rolled_back"):
        world.ledger.advance_rollout(world.ledger.rollout(rollout), state, 0, "worse")
    world.registry.set_alias("rides", "champion", 2)
    second = world.act("arbitrate", report=window(world, 7))
    assert (first.action, second.action) == ("redeploy", "wait")
    (row,) = [row for row in world.ledger.decisions("rides") if row["id"] == second.decision]
    assert row["evidence"]["rivals"] == []


def test_a_persons_wish_overrides_the_cooldown_but_not_the_retraining_under_way(world: Any) -> None:
    world.change_spec(lambda text: text.replace("cooldown: 1d", "cooldown: 50d"))
    first = world.act("arbitrate", wish="retrain", reason="new prices")
    assert (first.action, first.reason) == ("retrain", "asked for: new prices")
    assert world.act("arbitrate", wish="retrain", reason="new prices").decision == first.decision, "the same run"
    world.run_id = "another run"
    second = world.act("arbitrate", wish="retrain", reason="hurry")
    assert (second.action, second.alert) == ("wait", True)
    assert second.reason == f"hurry; folded into retraining 2, begun by decision {first.decision}"
    triggers = [row["trigger"] for row in world.ledger.decisions("rides")[1:]]
    assert triggers == ["person: rides.test run", "person: rides.test another run"]


def test_a_person_brings_a_former_champion_back_and_no_other_version(world: Any) -> None:
    decision = world.act("arbitrate", wish="redeploy", version=1, reason="the old prices are back")
    assert (decision.action, decision.version) == ("redeploy", 1)
    with pytest.raises(InputError, match=r"version 7 was never its champion \(those were \[1, 2\]\)"):
        world.act("arbitrate", wish="redeploy", version=7)
    with pytest.raises(InputError, match="version 2 is the champion already"):
        world.act("arbitrate", wish="redeploy", version=2)


def test_without_news_the_daily_look_adds_no_decision(world: Any) -> None:
    told = world.act("arbitrate", report=window(world, 6, dearer=100, reversed_=True))
    again = world.act("arbitrate")
    assert (again.decision, len(world.ledger.decisions("rides"))) == (told.decision, 2)


def test_before_there_is_data_there_is_no_decision(rides: Any) -> None:
    outputs = rides.act("arbitrate")
    assert (outputs.decision, outputs.action, outputs.reason) == (None, "wait", "no data was ever ingested")


def test_a_changed_environment_and_the_schedule_are_causes(world: Any) -> None:
    for day in (6, 7):
        world.ingest(day, live(world, day, dearer=100, reversed_=True))
    world.change_spec(lambda text: text.replace("minimum_new_labels: 100", "minimum_new_labels: 0, every: 1d"))
    scheduled = world.act("arbitrate")
    assert (scheduled.action, scheduled.reason.split(";")[0]) == ("retrain", "the schedule asks for a training")
    world.ledger.end_retraining("rides", "done", begun_by=f"decision {scheduled.decision}")
    world.registry.tag("rides", 2, "environment_digest", "another")
    changed = world.act("arbitrate")
    assert changed.decision != scheduled.decision
    assert "the environment changed since the last training" in changed.reason


def rejected(rides: Any, version: int) -> None:
    row = dict.fromkeys(("reason", "holdout"), "why")
    rides.ledger.record_verdict(model="rides", version=version, verdict="failed", action="reject", judgements=[], **row)


def test_a_search_is_asked_for_after_rejections_since_the_last_search_alone(world: Any) -> None:
    for day in (6, 7):
        world.ingest(day, live(world, day, dearer=100, reversed_=True))
        rejected(world, learn(world, 3, day + 1))

    def asked(run: str) -> Any:
        world.run_id = run
        decision = world.act("arbitrate", wish="retrain", reason="try again")
        world.ledger.end_retraining("rides", "done", begun_by=f"decision {decision.decision}")
        return decision

    decision = asked("first")
    assert decision.tune
    assert "the gate rejected 2 versions with the old ones" in decision.reason
    assert world.ledger.decisions("rides")[-1]["tune"]
    # The newer one of the two learned what the search knew, so that it may have had the parameters found.
    found = {"basis": "b", "trainer": "xgboost", "trial": 0, "loss": 0.5, "parameters": {}}
    world.ledger.record_search(model="rides", study="s", as_of=datetime.fromisoformat(world.day(8)["start"]), **found)
    again = asked("second")
    assert not again.tune
    assert world.ledger.decisions("rides")[-1]["evidence"]["rejected"] == 1
