"""Rare input, and what is said of a model that has no answer to it."""

import numpy as np
import pytest

from kilter.core.sanity.probes import Probe, probes, unscored
from kilter.encoding import Signature
from kilter.spec import Feature

SIGNATURE = Signature(
    entity="id",
    timestamp="at",
    features=(Feature(name="x"), Feature(name="y", kind="categorical", categories=("a", "b"))),
)
TRAIN = np.array([[2, 0], [5, 1], [np.nan, 0]], dtype=np.float32)


def test_every_kind_of_rare_input_is_tried() -> None:
    assert [probe.name for probe in probes(TRAIN, SIGNATURE)] == [
        "every feature missing",
        "feature 'x' missing",
        *(f"feature 'x' = {value}" for value in ("-1", "0", "1", "2", "5", "-2998", "3005")),
        "feature 'y' missing or of an unknown category",
        "feature 'y' = 'a'",
        "feature 'y' = 'b'",
    ]


def test_numbers_far_out_stay_numbers_that_a_model_can_take() -> None:
    huge = np.array([[-3e38, 0], [3e38, 0]], dtype=np.float32)
    assert all(np.isfinite(np.float32(probe.value)) for probe in probes(huge, SIGNATURE) if "=" in probe.name)


def test_a_number_that_was_always_missing_has_no_extremes() -> None:
    names = [probe.name for probe in probes(np.full((2, 2), np.nan, np.float32), SIGNATURE)]
    assert [name for name in names if "'x' =" in name] == [f"feature 'x' = {value}" for value in ("-1", "0", "1")]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5])
def test_an_answer_that_is_no_probability_is_told_with_the_probe(wrong: float) -> None:
    rows = np.array([[1, 0], [2, 1]], dtype=np.float32)
    probe = Probe("feature 'y' = 'b'", slice(1, 2), 1.0)
    other = Probe("feature 'y' = 'a'", slice(1, 2), 0.0)
    found = unscored(
        [other, probe, other],
        lambda matrix: np.where((matrix[:, 1] == 1) & (matrix[:, 0] == 2), wrong, 0.5),
        rows,
        "binary",
    )
    assert found == [f"feature 'y' = 'b' scores {wrong:g}"]
    assert rows[0, 1] == 0


def test_probes_beyond_one_call_of_the_model_are_all_tried() -> None:
    many = [Probe(f"x = {value}", slice(0, 1), value) for value in range(1203)]
    found = unscored(
        many, lambda matrix: np.where(matrix[:, 0] % 400 == 2, 2.0, 0.5), np.zeros((3, 2), np.float32), "binary"
    )
    assert found == [f"x = {value} scores 2" for value in (2, 402, 802, 1202)]


def test_an_answer_of_many_classes_that_is_no_distribution_is_told_whole() -> None:
    tried = [Probe(f"x = {value}", slice(0, 1), value) for value in (0.5, 0.9)]
    found = unscored(
        tried, lambda matrix: np.column_stack([matrix[:, 0], 1 - matrix[:, 0].round()]), np.zeros((2, 2)), "multiclass"
    )
    assert found == ["x = 0.5 scores (0.5, 1)", "x = 0.9 scores (0.9, 0)"]


def test_a_number_may_be_any_that_is_finite() -> None:
    tried = [Probe(f"x = {value}", slice(0, 1), value) for value in (-900.0, np.inf)]
    assert unscored(tried, lambda matrix: matrix[:, 0], np.zeros((2, 2)), "regression") == ["x = inf scores inf"]
