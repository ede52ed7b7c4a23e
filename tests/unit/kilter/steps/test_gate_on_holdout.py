"""score_holdout → check_thresholds, check_against_champion, check_slices, on rides whose length follows from the fare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kilter.errors import InputError
from kilter.holdout import Holdout, read_holdout
from kilter.spec import load_spec
from kilter.stores.models import load_model, read_part
from kilter.trainers import Part


def shuffled(part: Part) -> Part:
    """Labels that have nothing to do with the rows."""
    return Part(part.rows, np.random.default_rng(1).permutation(part.labels))


def wrong_in_the_south(part: Part) -> Part:
    """The opposite label wherever the zone, the second feature, is south."""
    return Part(part.rows, np.where(part.rows[:, 1] == 1, 1 - part.labels, part.labels))


def scored(rides: Any, version: int, **inputs: Any) -> Holdout:
    key = rides.act("score_holdout", version=version, **inputs).holdout
    return read_holdout(rides.objects, key, load_spec(rides.folder))


def judged(rides: Any, check: str, version: int) -> Any:
    return rides.act(f"check_{check}", holdout=rides.act("score_holdout", version=version).holdout).judgement


def test_a_holdout_is_the_test_part_scored_by_candidate_and_champion(rides: Any, snapshot: str) -> None:
    champion, candidate = rides.candidate(snapshot, shuffled), rides.candidate(snapshot)
    rides.registry.set_alias("rides", "champion", champion)
    holdout = scored(rides, candidate)
    test = read_part(rides.objects, snapshot, "test")
    assert holdout.frame.ride_id.tolist() == test.ride_id.tolist()
    assert (holdout.facts.rows, holdout.facts.new_rows) == (len(test), 0)
    assert holdout.labels.tolist() == test.slow.tolist()
    for version, scores in ((candidate, holdout.candidate), (champion, holdout.champion)):
        model = load_model(rides.objects, rides.registry.version("rides", version).key)
        assert scores.tolist() == model.score(test).tolist()
    assert holdout.comparable.all()


def test_without_a_champion_nothing_is_comparable(rides: Any, snapshot: str) -> None:
    holdout = scored(rides, rides.candidate(snapshot))
    assert holdout.facts.champion is None
    assert not holdout.comparable.any()
    assert np.isnan(holdout.champion).all()


def test_rows_that_the_champion_learned_from_are_not_compared(rides: Any, snapshot: str) -> None:
    rides.ingest(3, rides.learnable(3))
    later = rides.run("freeze_dataset", as_of=rides.day(4)["start"])["snapshot"]
    rides.registry.set_alias("rides", "champion", rides.candidate(later))
    holdout = scored(rides, rides.candidate(snapshot), as_of=rides.day(4)["start"])
    first = read_part(rides.objects, later, "test").started_at.min()
    assert holdout.comparable.tolist() == (holdout.frame.started_at >= first).tolist()
    assert 0 < holdout.comparable.sum() < len(holdout.labels)


def test_a_later_as_of_adds_the_rows_whose_labels_came_since_and_no_row_twice(rides: Any, snapshot: str) -> None:
    candidate = rides.candidate(snapshot)
    rides.ingest(3, rides.learnable(3))
    early, late = (scored(rides, candidate, as_of=rides.day(day)["start"]) for day in (3, 4))
    assert late.facts.new_rows == late.facts.rows - early.facts.rows > 400
    assert not late.frame.ride_id.duplicated().any()
    assert set(early.frame.ride_id) < set(late.frame.ride_id)
    assert late.frame.started_at.is_monotonic_increasing
    assert late.frame.started_at.min() == early.frame.started_at.min()


def test_without_as_of_it_is_the_end_of_the_newest_passed_interval(rides: Any, snapshot: str) -> None:
    holdout = scored(rides, rides.candidate(snapshot))
    assert holdout.facts.as_of.isoformat() == rides.day(3)["start"]


def test_a_version_that_is_not_there_is_an_input_error(rides: Any, snapshot: str) -> None:
    with pytest.raises(InputError, match="no version 7"):
        rides.act("score_holdout", version=7)


def test_a_good_first_candidate_passes_the_thresholds_and_is_told_to_have_no_champion(
    rides: Any, snapshot: str
) -> None:
    version = rides.candidate(snapshot)
    passed = judged(rides, "thresholds", version)
    assert passed.verdict == "passed"
    (auc,) = passed.measured
    assert 0.5 < auc.low < auc.value < auc.high < 1
    alone = judged(rides, "against_champion", version)
    assert (alone.verdict, alone.reason) == ("inconclusive", "no champion yet to compare with")


def test_shuffled_labels_are_refused_against_the_champion(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("gate: {", "gate: {against_champion: {minimum_rows: 100}, "))
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    judgement = judged(rides, "against_champion", rides.candidate(snapshot, shuffled))
    assert judgement.verdict == "failed"
    assert "roc_auc lost to version 1, the champion, on the same" in judgement.reason


def test_the_champion_again_is_not_inferior_and_not_better(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("gate: {", "gate: {against_champion: {minimum_rows: 100}, "))
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    twin = rides.candidate(snapshot, name="twin")
    assert judged(rides, "against_champion", twin).verdict == "passed"
    rides.change_spec(lambda text: text.replace("{against_champion: {", "{against_champion: {require: better, "))
    judgement = judged(rides, "against_champion", twin)
    assert judgement.verdict == "failed"
    assert "0 (95 %: 0 … 0) >= 0" in judgement.reason


@pytest.mark.parametrize("champion", [True, False])
def test_one_ruined_slice_is_refused_by_name(rides: Any, snapshot: str, champion: bool) -> None:
    rides.change_spec(
        lambda text: text.replace("[roc_auc],", "[roc_auc], slices: [zone],").replace(
            "gate: {", "gate: {slices: {minimum_rows: 50}, "
        )
    )
    if champion:
        rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    judgement = judged(rides, "slices", rides.candidate(snapshot, wrong_in_the_south))
    assert judgement.verdict == "failed"
    assert "worst slice zone = south" in judgement.reason
    assert [row["slice"] for row in judgement.figures["slices"] if row["worse"]] == ["zone = south"]


def test_rows_in_too_few_blocks_are_inconclusive_not_passed(rides: Any, snapshot: str) -> None:
    rides.change_spec(
        lambda text: text.replace("block: 30m", "block: 1d, slices: [zone]").replace(
            "gate: {", "gate: {slices: {minimum_rows: 50}, "
        )
    )
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    version = rides.candidate(snapshot, shuffled)
    for check in ("thresholds", "against_champion", "slices"):
        judgement = judged(rides, check, version)
        assert (judgement.verdict, "evaluation.block" in judgement.reason) == ("inconclusive", True), check


def looked(rides: Any, version: int, as_of: str) -> tuple[int, float, int]:
    """Look, confidence and rows of a holdout, on which a verdict is recorded."""
    holdout = rides.act("score_holdout", version=version, as_of=as_of).holdout
    facts = read_holdout(rides.objects, holdout, load_spec(rides.folder)).facts
    rides.ledger.record_verdict(
        model="rides",
        version=version,
        verdict="inconclusive",
        reason="",
        judgements=[],
        as_of=facts.as_of,
        holdout=holdout,
        action="hold",
    )
    return facts.look, facts.confidence, facts.rows


def test_each_further_look_at_other_rows_is_judged_more_strictly(rides: Any, snapshot: str) -> None:
    candidate = rides.candidate(snapshot)
    rides.ingest(3, rides.learnable(3))
    rides.ingest(4, rides.learnable(4))
    looks = [looked(rides, candidate, f"2024-01-0{day}T00:00:00Z") for day in (4, 4, 6, 5)]
    assert [look[:2] for look in looks] == [(1, 0.95), (1, 0.95), (2, 0.975), (3, 0.9875)]
    assert looks[0][2] < looks[3][2] < looks[2][2]


def test_a_later_time_without_new_labels_is_no_new_look(rides: Any, snapshot: str) -> None:
    candidate = rides.candidate(snapshot)
    assert looked(rides, candidate, "2024-01-04T00:00:00Z") == looked(rides, candidate, "2024-01-04T00:05:00Z")


def test_labels_that_the_training_knew_are_never_left_out(rides: Any, snapshot: str) -> None:
    facts = scored(rides, rides.candidate(snapshot), as_of="2024-01-02T00:00:00Z").facts
    assert facts.as_of.isoformat() == "2024-01-04T00:00:00+00:00"


def test_the_champion_itself_is_not_judged(rides: Any, snapshot: str) -> None:
    rides.registry.set_alias("rides", "champion", champion := rides.candidate(snapshot))
    with pytest.raises(InputError, match="version 1 is the champion already"):
        scored(rides, champion)


def without_zone(text: str) -> str:
    return text.replace("    - {name: zone, kind: categorical, categories: [north, south]}\n", "")


def test_a_champion_that_takes_a_dropped_feature_is_incomparable_and_not_a_fault(rides: Any, snapshot: str) -> None:
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    rides.change_spec(without_zone)
    candidate = rides.candidate(rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"])
    judgement = judged(rides, "against_champion", candidate)
    assert judgement.verdict == "inconclusive"
    assert "version 1, the champion, cannot be compared with: it takes zone" in judgement.reason
    assert judged(rides, "thresholds", candidate).verdict == "passed"


def test_newer_rows_without_a_feature_of_the_candidate_are_an_input_error(rides: Any, snapshot: str) -> None:
    candidate = rides.candidate(snapshot)
    rides.change_spec(without_zone)
    rides.ingest(3, rides.learnable(3))
    with pytest.raises(InputError, match=r"takes zone, which features\.columns does not name any more"):
        scored(rides, candidate, as_of=rides.day(4)["start"])
