"""Rows to try an exported model with are made up."""

from __future__ import annotations

import numpy as np
from tests.unit.kilter.parts import spec_of

from kilter.encoding import Signature, encode
from kilter.export.example import as_columns, made_up_rows

SIGNATURE = Signature.of(spec_of("binary"))
OBSERVED = np.column_stack([np.linspace(100, 300.003, 1001), np.arange(1001) % 2]).astype(np.float32)


def test_numbers_are_rounded_quantiles_and_categories_those_listed() -> None:
    rows = made_up_rows(OBSERVED, SIGNATURE)
    assert [row["heat"] for row in rows] == [120.0, 160.0, 200.0, 240.0, 280.0, None, None]
    assert [row["line"] for row in rows] == ["b", "a", "b", "a", "b", "b", None]


def test_one_row_has_gaps_and_one_has_nothing() -> None:
    rows = made_up_rows(OBSERVED, SIGNATURE)
    assert rows[-2:] == [{"heat": None, "line": "b"}, {"heat": None, "line": None}]


def test_no_observed_row_is_among_them() -> None:
    observed = OBSERVED + np.float32(0.0625)
    made = encode(as_columns(made_up_rows(observed, SIGNATURE), SIGNATURE), SIGNATURE)
    assert not set(map(tuple, made.tolist())) & set(map(tuple, observed.tolist()))


def test_a_number_never_observed_is_missing() -> None:
    nothing = np.full((3, 2), np.nan, np.float32)
    assert {row["heat"] for row in made_up_rows(nothing, SIGNATURE)} == {None}
