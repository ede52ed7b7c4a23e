"""Training and serving feed a model the same numbers."""

import math

import numpy as np
import pandas as pd
import pytest

from kilter.encoding import Signature, encode, encode_labels
from kilter.errors import DataError
from kilter.spec import Feature

SIGNATURE = Signature(
    entity="flight_id",
    timestamp="at",
    features=(
        Feature(name="distance"),
        Feature(name="origin", kind="categorical", categories=("EWR", "JFK")),
    ),
)


def encoded(distance, origin):
    return encode({"origin": origin, "distance": distance}, SIGNATURE)


def test_columns_follow_the_signature_and_not_the_request():
    matrix = encoded([100, 2.5], ["JFK", "EWR"])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[100.0, 1.0], [2.5, 0.0]]


def test_missing_values_and_unknown_categories_become_nan():
    matrix = encoded([None, math.nan, 3], ["LAX", None, math.nan])
    assert np.isnan(matrix[:, 1]).all()
    assert np.isnan(matrix[:2, 0]).all()


@pytest.mark.parametrize("number", [0, -0.0, 0.1, 1 / 3, 2**24 + 1, 2**40 + 1, 3.4e38, 1e-46, True, None, math.nan])
@pytest.mark.parametrize("origin", ["EWR", "JFK", "LAX", "", None])
def test_lists_of_a_request_become_what_columns_of_a_table_become(number, origin):
    table = pd.DataFrame({"distance": [number, 2.5], "origin": [origin, "JFK"]}, dtype=object)
    np.testing.assert_array_equal(encoded([number, 2.5], [origin, "JFK"]), encode(table, SIGNATURE))


def test_columns_that_are_no_feature_are_ignored():
    assert encode({"distance": [1], "origin": ["EWR"], "flight_id": ["x"]}, SIGNATURE).shape == (1, 2)


@pytest.mark.parametrize("values", [["1.5"], [None, "1"], [[1]], [{}], [10**400], [1e39], [math.inf]])
def test_a_value_that_is_no_number_is_refused_by_the_features_name(values):
    with pytest.raises(DataError, match="feature 'distance'"):
        encoded(values, ["JFK"] * len(values))


@pytest.mark.parametrize("value", [1, True, 1.5, [], {}])
def test_a_value_that_is_no_category_is_refused_by_the_features_name(value):
    with pytest.raises(DataError, match="feature 'origin'"):
        encoded([1], [value])


def test_a_missing_feature_is_named_with_what_the_model_takes():
    with pytest.raises(DataError, match="'origin' is missing; the model takes: distance, origin"):
        encode({"distance": [1]}, SIGNATURE)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="'origin' has 1 values and 'distance' has 2"):
        encoded([1, 2], ["JFK"])


def test_a_signature_survives_its_file():
    assert Signature.model_validate_json(SIGNATURE.model_dump_json()) == SIGNATURE


def test_a_signature_of_before_there_were_tasks_is_binary():
    told = SIGNATURE.model_dump(exclude={"task", "classes"})
    assert (Signature.model_validate(told).task, Signature.model_validate(told).classes) == ("binary", ())


@pytest.mark.parametrize(
    ("task", "classes"),
    [("binary", ("a", "b")), ("regression", ("a",)), ("multiclass", ()), ("multiclass", ("a",)), ("multiclass", "aab")],
)
def test_a_signature_whose_classes_do_not_fit_its_task_is_refused(task, classes):
    with pytest.raises(ValueError, match="a multiclass model has two or more, each once; others have none"):
        Signature.model_validate(SIGNATURE.model_dump() | {"task": task, "classes": tuple(classes)})


def test_a_label_that_is_no_class_is_named() -> None:
    for strange in ("burnt", None, 1):
        with pytest.raises(DataError, match=rf"label {strange!r} is none of label.classes: good, scrap"):
            encode_labels(["good", strange], ("good", "scrap"))
