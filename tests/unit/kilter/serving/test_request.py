"""Every refusal says which field is wrong."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from kilter.encoding import Signature
from kilter.serving.request import RefusedRequest, parse
from kilter.spec import Feature

SIGNATURE = Signature(
    entity="flight_id",
    timestamp="departure",
    features=(Feature(name="distance"), Feature(name="origin", kind="categorical", categories=("EWR", "JFK"))),
)
NOW = datetime(2013, 5, 1, 12, tzinfo=UTC)


def parsed(body):
    return parse(body if isinstance(body, bytes) else json.dumps(body).encode(), SIGNATURE, NOW)


def split(columns, *data):
    return {"dataframe_split": {"columns": columns, "data": list(data)}}


RECORDS = [{"distance": 7, "origin": "JFK"}, {"distance": 8.5, "origin": None}]


@pytest.mark.parametrize(
    "body",
    [
        split(["origin", "distance"], ["JFK", 7], [None, 8.5]),
        split(["origin", "distance"], ["JFK", 7], [None, 8.5]) | {"params": {}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS, "params": None},
        {"instances": [[7, "JFK"], [8.5, None]]},
    ],
)
def test_every_form_gives_the_same_rows(body):
    rows = parsed(body)
    assert np.array_equal(rows.matrix, [[7.0, 1.0], [8.5, np.nan]], equal_nan=True)
    assert rows.columns == {"distance": (7, 8.5), "origin": ("JFK", None)}


def test_entity_and_time_are_kept_for_the_log():
    rows = parsed(split(["flight_id", "departure", "distance", "origin"], [17, "2013-01-03T17:29:00-05:00", 1, "EWR"]))
    assert rows.entities == ["17"]
    assert rows.timestamps == [datetime(2013, 1, 3, 22, 29, tzinfo=UTC)]


def test_without_entity_and_time_the_row_has_the_time_of_its_request():
    rows = parsed(split(["distance", "origin"], [1, "EWR"]))
    assert (rows.entities, rows.timestamps) == ([None], [NOW])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b'{"dataframe_split": {"columns": ["\xff"], "data": []}}', "body: not JSON"),
        (b"[" * 100_000, "body: "),
        (b'{"dataframe_records": [{"distance": ' + b"[" * 100_000, "body: not JSON"),
        (b'{"dataframe_records": [{"distance": NaN, "origin": null}]}', "NaN at `$.dataframe_records[0].distance`"),
        (
            b'{"instances": [[1, "JFK"], [-Infinity, "JFK"]]}',
            "-Infinity at `$.instances[1][0]`: a missing value is null",
        ),
        (b'{"dataframe_records": [{"distance": NaN, "origin": nil}]}', "body: not JSON: JSON is malformed"),
        (b'{"instances": ["NaN", ' + b"[" * 100_000, "body: "),
        (b'{"dataframe_records": [{"distance": 1e999, "origin": null}]}', "out of range"),
        ([], "Expected `object`, got `array`"),
        ({}, "give one of dataframe_split, dataframe_records and instances"),
        ({"inputs": [1]}, "unknown field `inputs`"),
        ({"dataframe_records": RECORDS, "instances": RECORDS}, "give one of"),
        ({"dataframe_split": None, "instances": RECORDS}, "`$.dataframe_split`"),
        ({"instances": RECORDS, "params": {"temperature": 1}}, "params: got temperature"),
        ({"instances": []}, "no rows"),
        ({"instances": [1]}, "got `int` - at `$.instances[0]`"),
        ({"instances": [[1, "JFK"], {"distance": 1, "origin": "JFK"}]}, "instances: records and lists are mixed"),
        (
            {"instances": [[1, "JFK"], [1]]},
            "instances[1] has 1 values for 2 features: give them in this order: distance",
        ),
        ({"instances": [{"distance": 1, "origin": "JFK"}, {"distance": 1}]}, "instances[1] and [0] differ in: origin"),
        ({"dataframe_split": {"data": [[1]]}}, "missing required field `columns`"),
        (split([1], [1]), r"Expected `str`, got `int` - at `$.dataframe_split.columns[0]`"),
        (split(["distance", "origin"]), "no rows"),
        ({"dataframe_records": []}, "no rows"),
        (split(["distance", "origin"], [1]), "data[0] has 1 values for 2 columns"),
        ({"dataframe_records": [{"distance": 1, "origin": "JFK"}, {"distance": 1}]}, "[1] and [0] differ in: origin"),
        (split(["distance"], [1]), "feature 'origin' is missing"),
        (split(["distance", "origin", "x"], [1, "JFK", 1]), "column 'x' is unknown"),
        (split(["distance", "origin", "origin"], [1, "JFK", "EWR"]), "column origin is given twice"),
        (split(["distance", "origin"], ["far", "JFK"]), "feature 'distance' got 'far'"),
        (split(["distance", "origin"], [1, 2]), "feature 'origin' got 2"),
        (split(["distance", "origin", "flight_id"], [1, "JFK", [1]]), "column 'flight_id' got [1]"),
        (split(["distance", "origin", "departure"], [1, "JFK", "2013-01-03T17:29:00"]), "column 'departure' got"),
        (split(["distance", "origin", "departure"], [1, "JFK", 1357252140]), "column 'departure' got 1357252140"),
        (split(["distance", "origin", "departure"], [1, "JFK", "0001-01-01T00:00:00+23:00"]), "1900 to 2199"),
    ],
)
def test_a_malformed_body_is_refused_by_the_field_at_fault(body, message):
    with pytest.raises(RefusedRequest) as refused:
        parsed(body)
    assert refused.value.status == 400
    assert message in str(refused.value)


OPTIONAL = ("origin",)


def test_an_optional_feature_may_be_left_out_with_an_entity_to_look_it_up_by():
    rows = parse(b'{"dataframe_records": [{"flight_id": "a", "distance": 7}]}', SIGNATURE, NOW, OPTIONAL)
    assert (rows.absent, rows.entities) == (("origin",), ["a"])
    assert np.array_equal(rows.matrix, [[7.0, np.nan]], equal_nan=True)


def test_an_optional_feature_that_is_given_is_not_absent_also_where_it_is_null():
    rows = parse(b'{"instances": [[7, null]]}', SIGNATURE, NOW, OPTIONAL)
    assert (rows.absent, rows.entities) == ((), [None])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"distance": 7}, "column 'flight_id' is missing or null: origin are looked up by it: give it, or them"),
        ({"distance": 7, "flight_id": None}, "column 'flight_id' is missing or null"),
        ({"origin": "JFK", "flight_id": "a"}, "feature 'distance' is missing"),
        ({}, "feature 'distance' is missing"),
    ],
)
def test_what_is_not_optional_and_the_entity_of_what_is_must_be_there(record, message):
    with pytest.raises(RefusedRequest) as refused:
        parse(json.dumps({"dataframe_records": [record]}).encode(), SIGNATURE, NOW, OPTIONAL)
    assert refused.value.status == 400
    assert message in str(refused.value)
