"""check_provenance and check_holdout_wear on what the other steps left in the stores."""

from __future__ import annotations

import json
from typing import Any

from kilter.core.verdict import Judgement
from kilter.stores.objects import commit_dataset, read_file, read_manifest


def judged(rides: Any, version: int) -> Judgement:
    return rides.act("check_provenance", holdout=rides.act("score_holdout", version=version).holdout).judgement


def test_a_candidate_of_the_whole_pipeline_passes(rides: Any, snapshot: str) -> None:
    judgement = judged(rides, rides.train(3).version)
    assert judgement.verdict == "passed", judgement.reason
    assert len(judgement.figures["batches"]) == 3


def test_a_batch_that_was_quarantined_after_it_became_features_is_named(rides: Any, snapshot: str) -> None:
    version = rides.train(3).version
    batch = next(row for row in rides.ledger.batches("rides") if row["interval_start"].day == 2)
    file = rides.folder / "expectations.json"
    strict = json.loads(file.read_text())
    strict["tables"]["rides"]["fare"]["maximum"] = 20
    file.write_text(json.dumps(strict))
    assert rides.run("validate_batch", batch=batch["key"], **rides.day(1))["verdict"] == "failed"
    assert rides.objects.exists(f"quarantine/rides/{batch['digest']}/manifest.json")
    judgement = judged(rides, version)
    assert judgement.verdict == "failed"
    named = f"batch {batch['digest'][:12]} of [2024-01-02T00:00:00+00:00, 2024-01-03T00:00:00+00:00) failed: "
    assert named in judgement.reason
    assert "fare" in judgement.reason


def test_features_that_were_put_there_by_hand_are_of_unknown_origin(rides: Any, snapshot: str) -> None:
    first, second = (f"features/rides/2024010{day}T000000.parquet" for day in (1, 2))
    rides.objects.put(second, rides.objects.get(first))
    judgement = judged(rides, rides.train(3).version)
    assert judgement.verdict == "failed"
    assert "No record tells what the features and labels of [2024-01-02" in judgement.reason


def test_a_snapshot_from_before_origins_were_kept_fails(rides: Any, snapshot: str) -> None:
    manifest = read_manifest(rides.objects, snapshot)
    files = {name: read_file(rides.objects, manifest, name) for name in manifest.files}
    old = {key: value for key, value in manifest.facts.items() if key != "origins"} | {"batches": ["a" * 64]}
    judgement = judged(rides, rides.candidate(commit_dataset(rides.objects, "snapshots/rides", files, old).key))
    assert judgement.verdict == "failed"


def test_a_candidate_that_did_not_come_from_the_pipeline_has_no_known_digests(rides: Any, snapshot: str) -> None:
    assert judged(rides, rides.candidate(snapshot)).verdict == "inconclusive"
