"""check_sanity on real models, each with one thing wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kilter.core.verdict import Judgement
from kilter.stores.models import read_part
from kilter.stores.objects import commit_dataset, read_file, read_manifest
from kilter.trainers import Part
from kilter.trainers.xgboost import MODEL_FILE

SOUTH_HAS_NO_ANSWER = {
    "base_weights": [0.0, 0.0, math.nan],
    "categories": [1],
    "categories_nodes": [0],
    "categories_segments": [0],
    "categories_sizes": [1],
    "default_left": [1, 0, 0],
    "id": 0,
    "left_children": [1, -1, -1],
    "loss_changes": [1.0, 0.0, 0.0],
    "parents": [2147483647, 0, 0],
    "right_children": [2, -1, -1],
    "split_conditions": [0.0, 0.0, math.nan],
    "split_indices": [1, 0, 0],
    "split_type": [1, 0, 0],
    "sum_hessian": [2.0, 1.0, 1.0],
    "tree_param": {"num_deleted": "0", "num_feature": "2", "num_nodes": "3", "size_leaf_vector": "1"},
}
"""XGBoost's JSON of a tree with one split: zone 'south', the second category, goes right, to a leaf of NaN."""


@pytest.fixture(autouse=True)
def trusted_fare(rides: Any) -> None:
    """Rides are slow when they are dear, so their fare is all there is to know."""
    rides.change_spec(lambda text: text.replace("gate: {", "gate: {sanity: {trusted_features: [fare]}, "))


def judged(rides: Any, version: int) -> Judgement:
    return rides.act("check_sanity", holdout=rides.act("score_holdout", version=version).holdout).judgement


def failed(judgement: Judgement) -> list[str]:
    return [item.label for item in judgement.measured if item.verdict == "failed"]


def of_one_label(part: Part) -> Part:
    """Rows that hide what they are."""
    return Part(np.full_like(part.rows, np.nan), part.labels)


def shuffled(part: Part) -> Part:
    return Part(part.rows, np.random.default_rng(1).permutation(part.labels))


def rewritten(rides: Any, version: int, change: Callable[[dict[str, Any]], None]) -> int:
    """A version like another one, after a change of its booster's JSON."""
    import xgboost

    found = rides.registry.version("rides", version)
    manifest = read_manifest(rides.objects, found.key)
    booster = xgboost.Booster()
    booster.load_model(bytearray(read_file(rides.objects, manifest, MODEL_FILE)))
    content = json.loads(booster.save_raw("json"))
    change(content)
    booster.load_model(bytearray(json.dumps(content).encode()))
    files = {name: read_file(rides.objects, manifest, name) for name in manifest.files}
    files[MODEL_FILE] = bytes(booster.save_raw("ubj"))
    saved = commit_dataset(rides.objects, "models/rides", files, manifest.facts)
    return rides.candidate(found.snapshot, key=saved.key, digest=saved.digest)


def test_a_sane_model_passes(rides: Any, snapshot: str) -> None:
    judgement = judged(rides, rides.candidate(snapshot))
    assert judgement.verdict == "passed", judgement.reason
    assert judgement.figures["shares"]["fare"] > 0.8 > judgement.figures["shares"]["zone"]


def test_a_model_that_gives_every_row_one_score_fails(rides: Any, snapshot: str) -> None:
    judgement = judged(rides, rides.candidate(snapshot, of_one_label))
    assert "greatest less least score" in failed(judgement)
    assert "The model gives every row one score" in judgement.reason


def test_a_model_that_learnt_from_shuffled_labels_is_not_surely_better_than_a_guess(rides: Any, snapshot: str) -> None:
    judgement = judged(rides, rides.candidate(snapshot, shuffled))
    assert judgement.verdict in {"failed", "inconclusive"}
    prior = next(item for item in judgement.measured if item.label == "roc_auc lost to the prior")
    assert prior.verdict != "passed"


def test_the_answer_among_the_features_is_found_and_named(rides: Any) -> None:
    rides.change_spec(lambda text: text.replace("- {name: fare}", "- {name: fare}\n    - {name: minutes}"))
    file = rides.folder / "features.py"
    file.write_text(file.read_text().replace('"zone", "fare")', '"zone", "fare", "minutes")'))
    for day in range(3):
        rides.ingest(day, rides.learnable(day))
    leaky = rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"]
    judgement = judged(rides, rides.candidate(leaky))
    assert failed(judgement) == ["share of the roc_auc gained over the prior that feature 'minutes' reaches alone"]
    assert "Feature 'minutes' may hold the answer: remove it from features.columns" in judgement.reason


def test_no_score_for_a_rare_category_is_found_and_the_category_named(rides: Any) -> None:
    """South is in the list and in no row, so that only a probe comes to its leaf."""
    for day in range(3):
        rides.ingest(day, rides.learnable(day).assign(zone="north"))
    snapshot = rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"]

    def no_answer_in_the_south(booster: dict[str, Any]) -> None:
        booster["learner"]["gradient_booster"]["model"]["trees"][0] = SOUTH_HAS_NO_ANSWER

    judgement = judged(rides, rewritten(rides, rides.candidate(snapshot), no_answer_in_the_south))
    assert failed(judgement) == ["rare inputs without a probability"]
    assert "The first of 1 among 12 inputs: feature 'zone' = 'south' scores nan" in judgement.reason


def test_scores_that_are_no_numbers_fail_and_the_first_row_is_named(rides: Any, snapshot: str) -> None:
    def no_answer(booster: dict[str, Any]) -> None:
        tree = booster["learner"]["gradient_booster"]["model"]["trees"][0]
        leaves = [place for place, child in enumerate(tree["left_children"]) if child == -1]
        for leaf in leaves:
            tree["split_conditions"][leaf] = tree["base_weights"][leaf] = math.nan

    judgement = judged(rides, rewritten(rides, rides.candidate(snapshot), no_answer))
    assert judgement.verdict == "failed"
    first = read_part(rides.objects, snapshot, "test").ride_id.iloc[0]
    assert f"is ride_id '{first}', which scores nan" in judgement.reason


def test_a_training_cut_off_before_it_converged_fails_with_the_cure(rides: Any, snapshot: str) -> None:
    rides.change_spec(
        lambda text: text.replace("trainer: xgboost,", "trainer: xgboost, rounds: 5, parameters: {eta: 0.01},")
    )
    judgement = judged(rides, rides.candidate(snapshot))
    assert failed(judgement) == ["share of that fall in the last tenth of the rounds"]
    assert "had not converged after 5 rounds: raise training.rounds" in judgement.reason


def test_a_model_without_a_curve_is_inconclusive(rides: Any, snapshot: str) -> None:
    version = rides.registry.version("rides", rides.candidate(snapshot))
    manifest = read_manifest(rides.objects, version.key)
    files = {name: read_file(rides.objects, manifest, name) for name in manifest.files}
    old = commit_dataset(rides.objects, "models/rides", files, {"trainer": "xgboost"})
    judgement = judged(rides, rides.candidate(snapshot, key=old.key, digest=old.digest))
    assert judgement.verdict == "inconclusive"
    assert "no loss of it was kept: train the model again" in judgement.reason


def test_rows_in_too_few_blocks_are_inconclusive(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("block: 30m", "block: 1d"))
    judgement = judged(rides, rides.candidate(snapshot))
    assert judgement.verdict == "inconclusive"
    assert "too few blocks of evaluation.block" in judgement.reason
