"""ROC AUC and its error: the paper's data, its definition written out, and rows in blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kilter.core.uncertainty.delong import area, components, standard_error

# Albumin, total protein, K-G score and whether surgery helped, of 43 patients: the data of DeLong, DeLong and
# Clarke-Pearson (1988), as printed with the results in SAS/STAT User's Guide, The LOGISTIC Procedure, example
# "Comparing Receiver Operating Characteristic Curves".
PATIENTS = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0   2.5 5.7  8 0
1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1   4.1 6.6  5 1   3.6 5.7  5 1
4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0   4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1
3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1   3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1
3.2 5.1  5 1   2.6 4.7  6 1   3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1
3.5 6.2  5 1   2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""
ALBUMIN, PROTEIN, KG, HELPED = np.array(PATIENTS.split(), dtype=float).reshape(-1, 4).T
TESTS = {"albumin": ALBUMIN, "protein": PROTEIN, "kg": 10 - KG}


@pytest.mark.parametrize(
    ("name", "value", "error"), [("albumin", 0.7366, 0.0927), ("kg", 0.7258, 0.1028), ("protein", 0.6478, 0.1000)]
)
def test_area_and_error_are_those_published(name: str, value: float, error: float) -> None:
    parts = components(HELPED, TESTS[name])
    assert round(area(HELPED, parts), 4) == value
    assert round(standard_error(HELPED, parts, np.arange(43)), 4) == error


@pytest.mark.parametrize(("name", "difference", "error"), [("albumin", 0.0108, 0.0953), ("protein", -0.0780, 0.1046)])
def test_the_paired_difference_and_its_error_are_those_published(name: str, difference: float, error: float) -> None:
    parts = components(HELPED, TESTS[name]) - components(HELPED, TESTS["kg"])
    assert round(area(HELPED, parts), 4) == difference
    assert round(standard_error(HELPED, parts, np.arange(43)), 4) == error


def wins(positive: float, negative: float) -> float:
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def by_definition(labels: np.ndarray, scores: np.ndarray, blocks: np.ndarray) -> tuple[float, float]:
    """Area and error by counting pairs, with Obuchowski's (1997) sums over blocks."""
    ones, zeros = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    psi = np.array([[wins(scores[one], scores[zero]) for zero in zeros] for one in ones])
    value, m, n = psi.mean(), len(ones), len(zeros)
    found = sorted(set(blocks))
    first = {block: (psi.mean(axis=1) - value)[blocks[ones] == block].sum() for block in found}
    second = {block: (psi.mean(axis=0) - value)[blocks[zeros] == block].sum() for block in found}
    i10, i01, i = len(set(blocks[ones])), len(set(blocks[zeros])), len(found)
    s10 = i10 / ((i10 - 1) * m) * sum(term**2 for term in first.values())
    s01 = i01 / ((i01 - 1) * n) * sum(term**2 for term in second.values())
    s11 = i / (i - 1) * sum(first[block] * second[block] for block in found)
    return value, float(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)))


@pytest.mark.parametrize(("seed", "blocks"), list(itertools.product(range(3), ("rows", "days"))))
def test_it_agrees_with_counting_all_pairs_ties_included(seed: int, blocks: str) -> None:
    random = np.random.default_rng(seed)
    labels = (random.random(60) < 0.3).astype(float)
    scores = np.round(random.random(60) + 0.3 * labels, 1)
    numbers = np.arange(60) if blocks == "rows" else np.arange(60) // 5
    parts = components(labels, scores)
    value, error = by_definition(labels, scores, numbers)
    assert area(labels, parts) == pytest.approx(value, rel=1e-12)
    assert standard_error(labels, parts, numbers) == pytest.approx(error, rel=1e-12)


def test_a_row_told_ten_times_within_its_block_makes_nothing_surer() -> None:
    labels, scores = np.repeat(HELPED, 10), np.repeat(ALBUMIN, 10)
    parts = components(labels, scores)
    once = standard_error(HELPED, components(HELPED, ALBUMIN), np.arange(43))
    assert standard_error(labels, parts, np.repeat(np.arange(43), 10)) == pytest.approx(once, rel=1e-12)
    assert standard_error(labels, parts, np.arange(430)) < once / 3
