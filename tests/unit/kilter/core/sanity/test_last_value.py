"""The last label known, by hand and against a plain loop."""

import numpy as np

from kilter.core.sanity.last_value import last_values

DAYS = np.datetime64("2024-01-01", "us") + np.arange(6) * np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")


def test_a_row_never_knows_itself_and_not_what_becomes_known_at_its_very_time() -> None:
    labels = np.array([1.0, 0, 1, 0, 1, 0])
    assert last_values(DAYS, DAYS, labels, DAYS, prior=0.25).tolist() == [0.25, 1, 0, 1, 0, 1]
    assert last_values(DAYS[1:2], DAYS[:1], labels[:1], DAYS[1:2], prior=0.25).tolist() == [0.25]


def test_an_old_row_whose_label_came_late_does_not_replace_a_newer_one() -> None:
    known = np.array([DAYS[3], DAYS[1] + HOUR])
    assert last_values(DAYS[4:5], DAYS[:2], np.array([1.0, 0.0]), known, prior=0.5).tolist() == [0]


def test_without_a_past_every_row_has_the_prior() -> None:
    none = DAYS[:0]
    assert last_values(DAYS[:2], none, np.array([]), none, prior=0.3).tolist() == [0.3, 0.3]


def test_it_is_what_a_search_through_the_past_finds() -> None:
    random = np.random.default_rng(1)
    times = np.sort(DAYS[0] + random.permutation(1000)[:200] * HOUR)
    known = times + random.integers(1, 300, 200) * HOUR
    labels = random.integers(0, 2, 200).astype(float)

    def search(time: np.datetime64) -> float:
        found = np.flatnonzero(known < time)
        return labels[found[-1]] if len(found) else 0.5

    mixed = random.permutation(200)
    found = last_values(times, times[mixed], labels[mixed], known[mixed], prior=0.5)
    assert found.tolist() == [search(time) for time in times]


def test_of_many_classes_it_is_sure_of_the_last_one() -> None:
    labels = np.eye(3)[[2, 0]]
    found = last_values(DAYS[:3], DAYS[:2], labels, DAYS[:2], prior=(0.5, 0.25, 0.25))
    assert found.tolist() == [[0.5, 0.25, 0.25], [0, 0, 1], [1, 0, 0]]
    assert last_values(DAYS[:1], DAYS[:0], labels[:0], DAYS[:0], prior=(0.5, 0.25, 0.25)).tolist() == [
        [0.5, 0.25, 0.25]
    ]
