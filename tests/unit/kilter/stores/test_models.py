"""Encoding whole tables gives what encoding values gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.encoding import Signature, encode
from kilter.errors import DataError
from kilter.spec import Feature
from kilter.stores.models import encode_table

SIGNATURE = Signature(
    entity="id",
    timestamp="at",
    features=(
        Feature(name="distance"),
        Feature(name="origin", kind="categorical", categories=("EWR", "JFK", "")),
        Feature(name="delay"),
    ),
)
numbers = st.none() | st.floats(width=32, allow_infinity=False) | st.integers(-(2**40), 2**40).map(float)
texts = st.none() | st.sampled_from(["EWR", "JFK", "", "LGA", "jfk"])


def table(rows: list[tuple[float | None, str | None, float | None]], parts: int = 1) -> pa.Table:
    """The rows, and an unknown column, in so many chunks."""
    schema = pa.schema(
        [("delay", pa.float64()), ("origin", pa.string()), ("other", pa.string()), ("distance", pa.float64())]
    )
    columns = [[row[2] for row in rows], [row[1] for row in rows], ["?"] * len(rows), [row[0] for row in rows]]
    whole = pa.table(columns, schema=schema)
    return pa.concat_tables([whole.slice(place, 1) for place in range(len(rows))]) if parts > 1 and rows else whole


@given(st.lists(st.tuples(numbers, texts, numbers), max_size=20), st.integers(1, 2))
def test_a_table_is_encoded_as_its_values_are(rows, parts) -> None:
    given = table(rows, parts)
    expected = encode({name: given[name].to_pylist() for name in SIGNATURE.names}, SIGNATURE)
    found = encode_table(given, SIGNATURE)
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.int64(), pa.float64()])
def test_a_category_that_no_row_has_is_missing_whatever_the_type_of_its_column(kind: pa.DataType) -> None:
    good = table([(1.0, "JFK", 2.0)] * 3)
    column = pa.chunked_array([pa.nulls(3, kind)])
    assert np.isnan(
        encode_table(good.set_column(good.column_names.index("origin"), "origin", column), SIGNATURE)[:, 1]
    ).all()


def test_a_category_of_nothing_but_nan_is_missing() -> None:
    good = table([(1.0, "JFK", 2.0)])
    column = pa.array([float("nan")])
    assert np.isnan(
        encode_table(good.set_column(good.column_names.index("origin"), "origin", column), SIGNATURE)[:, 1]
    ).all()


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_are_categories_however_they_are_stored(kind: pa.DataType) -> None:
    good = table([(1.0, "JFK", 2.0), (1.0, None, 2.0), (1.0, "LGA", 2.0), (1.0, "EWR", 2.0)])
    place = good.column_names.index("origin")
    stored = good.set_column(place, "origin", good["origin"].cast(kind))
    np.testing.assert_array_equal(encode_table(stored, SIGNATURE)[:, 1], [1, np.nan, np.nan, 0])


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("distance", pa.array(["far"]), "'distance' got 'far': a numeric feature takes a number or null"),
        ("delay", pa.array([1e39]), "'delay' holds a number that is infinite or beyond float32"),
        ("origin", pa.array([1]), "'origin' got a column of int64: a category is a text or null"),
    ],
)
def test_a_column_that_fits_no_feature_is_refused_by_its_name(column: str, values: pa.Array, words: str) -> None:
    good = table([(1.0, "JFK", 2.0)])
    with pytest.raises(DataError, match=words):
        encode_table(good.set_column(good.column_names.index(column), column, values), SIGNATURE)


def test_a_missing_column_is_named_with_what_the_model_takes() -> None:
    with pytest.raises(DataError, match="'origin' is missing; the model takes: distance, origin, delay"):
        encode_table(table([(1.0, "JFK", 2.0)]).drop_columns("origin"), SIGNATURE)
