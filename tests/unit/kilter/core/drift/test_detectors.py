"""Detectors on a stream of errors: where the alarm falls, when it does not, and what counts as a change."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest

from kilter.core.drift.change import Change, rise
from kilter.core.drift.detectors import DETECTORS, judge_change
from kilter.core.verdict import Judgement, Verdict

ROWS = 3000
START = np.datetime64("2024-01-01T00:00:00")

Changes = Callable[[np.ndarray], list[Change]]
EVERY = pytest.mark.parametrize("changes", DETECTORS.values(), ids=DETECTORS.keys())


def errors(jump: float = 0.0, at: int = 2000, until: int = ROWS, seed: int = 1, rows: int = ROWS) -> np.ndarray:
    """Squared errors of honest scores, which rise by `jump` between two rows."""
    random = np.random.default_rng(seed)
    scores = random.beta(2, 3, rows)
    found = ((random.random(rows) < scores) - scores) ** 2
    found[at:until] = np.clip(found[at:until] + jump, 0, 1)
    return found


def judge(stream: np.ndarray, answered: int = 1000, each: int = 60, minimum: int = 100) -> Judgement:
    """A stream of a row a minute, in blocks of an hour."""
    place = np.arange(len(stream))
    times = START + place.astype("timedelta64[m]")
    return judge_change(stream, times, place // each, answered, minimum, confidence=0.95)


@EVERY
def test_an_alarm_falls_soon_after_the_change_and_tells_where_it_began(changes: Changes) -> None:
    for seed in range(5):
        (first, *_) = changes(errors(0.2, seed=seed))
        assert 2000 < first.seen < 2200
        assert abs(first.begins - 2000) < 40


@EVERY
def test_errors_that_stay_as_they_were_raise_no_alarm(changes: Changes) -> None:
    assert [changes(errors(seed=seed)) for seed in range(20)] == [[]] * 20


@EVERY
def test_errors_that_do_not_vary_or_are_none_raise_no_alarm(changes: Changes) -> None:
    assert changes(np.zeros(500)) == changes(np.zeros(0)) == []


def test_a_change_while_serving_fails_and_tells_its_event_time() -> None:
    judged = judge(errors(0.2))
    assert judged.verdict is Verdict.FAILED
    assert "ADWIN: mean error rose at 2024-01-02 09:" in judged.reason
    assert "Page-Hinkley: mean error rose at 2024-01-02 09:" in judged.reason
    began = datetime.fromisoformat(judged.figures["detectors"]["ADWIN"][0])
    assert abs((began - datetime(2024, 1, 2, 9, 20)).total_seconds()) < 40 * 60


def test_a_world_that_changed_before_the_first_request_is_seen_from_there() -> None:
    judged = judge(errors(0.2, at=1000), answered=1000)
    assert judged.verdict is Verdict.FAILED
    assert "rose at 2024-01-01 16:4" in judged.reason


def test_a_quiet_stream_passes_and_names_who_looked() -> None:
    judged = judge(errors())
    assert judged.verdict is Verdict.PASSED
    assert judged.reason == "no change in the errors of 2000 labelled rows since the promotion (ADWIN, Page-Hinkley)"


def test_errors_that_fell_are_no_alarm() -> None:
    assert judge(1 - errors(0.3)).verdict is not Verdict.FAILED


def test_a_change_in_the_test_part_is_not_the_versions_time() -> None:
    assert judge(errors(0.2, at=300, until=900), answered=1500).verdict is not Verdict.FAILED


def test_bad_days_among_days_that_vary_are_no_change() -> None:
    random, days = np.random.default_rng(3), 60
    mood = np.repeat(random.choice([0.0, 0.4], days), 50)
    judged = judge(np.clip(errors(rows=days * 50) / 3 + mood, 0, 1), each=50)
    assert judged.figures["detectors"]["ADWIN"]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "not surely <=" in judged.reason


def test_few_labels_are_inconclusive_and_an_error_that_is_no_number_is_an_error() -> None:
    assert judge(errors(0.2), minimum=2001).verdict is Verdict.INCONCLUSIVE
    stream = errors()
    stream[5] = np.nan
    assert judge(stream).verdict is Verdict.ERROR


def test_a_rise_beyond_what_blocks_vary_by_holds_no_zero() -> None:
    stream = np.concatenate([np.tile([0.1, 0.3], 500), np.tile([0.4, 0.6], 50)])
    found = rise(stream, np.arange(1100) // 20, 1000, 0.95)
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert found.blocks == 50
    assert rise(stream, np.arange(1100) // 400, 1000, 0.95) is None
