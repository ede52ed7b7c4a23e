"""Where a candidate comes from: known answers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kilter.core.gate.provenance import judge
from kilter.core.origin import Origin
from kilter.core.verdict import Judgement

LINEAGE = {"code_digest": "c" * 64, "image_digest": "sha256:1234", "environment_digest": "e" * 64, "git_commit": "abc"}


def may(day: int) -> datetime:
    return datetime(2024, 5, day, tzinfo=UTC)


def origin(day: int, batch: str | None = "b" * 64) -> Origin:
    return Origin(start=may(day), end=may(day + 1), batch=batch, features="f", labels="l")


def judged(*origins: Origin, lineage: dict[str, str] | None = None, **verdicts: str) -> Judgement:
    """The judgement where each batch, by its first letter, has a verdict; passed unless given."""
    batches: dict[Any, tuple[str, str]] = {
        (item.start, item.batch): (verdicts.get(item.batch[0], "passed"), "fares below 0")
        for item in origins
        if item.batch and verdicts.get(item.batch[0]) != "absent"
    }
    return judge(origins, batches, LINEAGE if lineage is None else lineage)


def test_known_good_batches_and_digests_pass_and_are_told() -> None:
    judgement = judged(origin(1), origin(2))
    assert judgement.verdict == "passed"
    assert judgement.reason.endswith("Code cccccccccccc, git commit abc. Image 1234")


def test_a_batch_that_failed_is_named_with_its_interval_and_reason() -> None:
    judgement = judged(origin(1), origin(2, "q" * 64), q="failed")
    assert judgement.verdict == "failed"
    assert "batches that did not pass 1 > 0" in judgement.reason
    assert (
        "batch qqqqqqqqqqqq of [2024-05-02T00:00:00+00:00, 2024-05-03T00:00:00+00:00) failed: fares below 0: repair "
        "the source, run feature_ingestion" in judgement.reason
    )


@pytest.mark.parametrize("verdict", ["error", "inconclusive", "absent"])
def test_a_batch_that_never_passed_fails_whatever_else_it_did(verdict: str) -> None:
    assert judged(origin(1, "q" * 64), q=verdict).verdict == "failed"


def test_a_verdict_on_the_same_batch_for_another_interval_says_nothing() -> None:
    known = {(may(2), "b" * 64): ("passed", "fine")}
    assert judge([origin(1)], known, LINEAGE).verdict == "failed"


def test_an_unknown_origin_fails_with_the_cure() -> None:
    judgement = judged(origin(1), origin(2, None))
    assert judgement.verdict == "failed"
    assert "No record tells what the features and labels of [2024-05-02" in judgement.reason
    assert "run feature_ingestion of these intervals" in judgement.reason


def test_of_many_mistakes_the_first_are_named_and_the_rest_counted() -> None:
    judgement = judged(*(origin(day, None) for day in range(1, 9)))
    assert judgement.reason.count("2024-05-0") == 6
    assert "; and 5 more were built of" in judgement.reason


def test_a_snapshot_that_tells_nothing_fails() -> None:
    judgement = judged()
    assert judgement.verdict == "failed"
    assert "does not say what it was built of: run continuous_training again" in judgement.reason


@pytest.mark.parametrize("name", ["code_digest", "environment_digest"])
def test_an_unknown_digest_is_inconclusive(name: str) -> None:
    judgement = judged(origin(1), lineage=LINEAGE | {name: ""})
    assert judgement.verdict == "inconclusive"
    assert f"the candidate's {name} is unknown" in judgement.reason


def test_without_an_image_the_environment_stands_for_it_and_without_git_the_code_does() -> None:
    judgement = judged(origin(1), lineage=LINEAGE | {"image_digest": "", "git_commit": ""})
    assert judgement.verdict == "passed"
    assert "git commit unknown. No image, as steps ran in a plain process: packages eeeeeeeeeeee" in judgement.reason
