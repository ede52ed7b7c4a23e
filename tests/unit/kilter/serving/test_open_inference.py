"""The Open Inference Protocol: what it takes, and how it refuses the rest by the input at fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from kilter.encoding import Matrix, Signature
from kilter.serving.models import LoadedModel
from kilter.serving.open_inference import answer, metadata, parse
from kilter.serving.request import RefusedRequest, Rows
from kilter.spec import Feature
from kilter.stores.deployment import Deployment

SIGNATURE = Signature(
    entity="flight_id",
    timestamp="departure",
    features=(Feature(name="distance"), Feature(name="origin", kind="categorical", categories=("EWR", "JFK"))),
)
NOW = datetime(2013, 5, 1, 12, tzinfo=UTC)


class Silent:
    """A predictor that is not asked."""

    name = "silent"

    def predict(self, rows: Matrix) -> list[float]:
        raise NotImplementedError


MODEL = LoadedModel(Deployment(model="delay", version=3, key="models/delay/d", digest="d"), SIGNATURE, Silent())

Json = dict[str, Any]


def tensor(name: str, data: list[Any], datatype: str = "FP32", shape: list[int] | None = None) -> Json:
    return {"name": name, "shape": [len(data)] if shape is None else shape, "datatype": datatype, "data": data}


def origin(*values: Any) -> Json:
    return tensor("origin", list(values), "BYTES")


def parsed(*inputs: Json, **fields: Any) -> Rows:
    return parse(json.dumps({"inputs": inputs, **fields}).encode(), SIGNATURE, NOW)


CLASSES = Signature.model_validate(SIGNATURE.model_dump() | {"task": "multiclass", "classes": ("on, time", "late")})
OF_CLASSES = LoadedModel(MODEL.deployment, CLASSES, Silent())


def test_scores_of_classes_are_one_tensor_row_after_row() -> None:
    (output,) = answer(OF_CLASSES, [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]], "mine")["outputs"]
    assert output == {
        "name": "score",
        "datatype": "FP32",
        "shape": [3, 2],
        "data": [0.25, 0.75, 0.5, 0.5, 1.0, 0.0],
    }


def test_metadata_tells_the_classes_in_the_order_of_their_scores() -> None:
    (output,) = metadata(OF_CLASSES)["outputs"]
    assert output["shape"] == [-1, 2]
    assert json.loads(output["parameters"]["classes"]) == ["on, time", "late"]


@pytest.mark.parametrize(
    "inputs",
    [
        (tensor("distance", [7, 8.5]), origin("JFK", None)),
        (origin("JFK", None), tensor("distance", [7, 8.5], "FP64", [2, 1])),
        (tensor("distance", [[7], [8.5]], shape=[2, 1]), origin("JFK", "a port that is not listed")),
        (tensor("input-0", [7, 1, 8.5, None], shape=[2, 2]),),
        (tensor("predict", [[7, 1], [8.5, None]], "FP64", [2, 2]),),
    ],
)
def test_a_tensor_a_feature_and_one_for_all_give_the_same_rows(inputs: tuple[Json, ...]) -> None:
    assert np.array_equal(parsed(*inputs).matrix, [[7.0, 1.0], [8.5, np.nan]], equal_nan=True)


def test_codes_are_logged_as_the_categories_that_they_stand_for() -> None:
    assert parsed(tensor("all", [7, 1, 8, 0], shape=[2, 2])).columns["origin"] == ["JFK", "EWR"]


def test_entity_and_time_are_kept_for_the_log() -> None:
    keys = (tensor("flight_id", [17], "INT64"), tensor("departure", ["2013-01-03T17:29:00-05:00"], "BYTES"))
    rows = parsed(tensor("distance", [7]), origin("JFK"), *keys)
    assert rows.entities == ["17"]
    assert rows.timestamps == [datetime(2013, 1, 3, 22, 29, tzinfo=UTC)]


def test_the_clients_name_for_the_request_is_kept() -> None:
    assert parsed(tensor("distance", [7]), origin("JFK"), id="mine").id == "mine"
    assert parsed(tensor("distance", [7]), origin("JFK"), outputs=[{"name": "score"}], parameters={"a": 1}).id == ""


def test_metadata_tells_inputs_in_the_signatures_order() -> None:
    told = metadata(MODEL)
    assert (told["name"], told["versions"], told["platform"]) == ("delay", ["3"], "kilter")
    assert told["inputs"][:2] == [
        {"name": "distance", "datatype": "FP32", "shape": [-1]},
        {"name": "origin", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [(key["name"], key["parameters"]) for key in told["inputs"][2:]] == [
        ("flight_id", {"optional": True}),
        ("departure", {"optional": True}),
    ]
    assert told["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]


def test_an_answer_is_one_tensor_of_scores() -> None:
    scores = {"name": "score", "datatype": "FP32", "shape": [2], "data": [0.25, 0.5]}
    told = {"model_name": "delay", "model_version": "3", "id": "mine", "outputs": [scores]}
    assert answer(MODEL, [0.25, 0.5], "mine") == told


GOOD = tensor("distance", [7])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "inputs: no rows"),
        ((tensor("distance", []), origin()), "inputs: no rows"),
        ((GOOD,), "feature 'origin' is missing"),
        ((GOOD, origin("JFK"), tensor("x", [1])), "input 'x' is unknown; allowed: departure, distance"),
        ((GOOD, origin("JFK"), GOOD), "input distance is given twice"),
        ((tensor("x", [1]),), "input 'x' is unknown"),
        (
            (tensor("distance", [7], "FP16"), origin("JFK")),
            "input 'distance' has datatype 'FP16'; allowed: FP32, FP64, INT8",
        ),
        ((GOOD, tensor("origin", [1], "INT64")), "input 'origin' has datatype 'INT64'; allowed: BYTES"),
        ((tensor("distance", [7], shape=[]), origin("JFK")), "input 'distance' has shape []: it must be [n] or [n, 1]"),
        ((tensor("distance", [7, 8], shape=[1, 2]), origin("JFK")), "input 'distance' has shape [1, 2]: it must be"),
        ((tensor("distance", [7], shape=[2]), origin("JFK", "JFK")), "input 'distance' has 1 values for shape [2]"),
        ((tensor("distance", [7], shape=[-1]), origin("JFK")), "input 'distance' has 1 values for shape [-1]"),
        ((GOOD, origin("JFK", "EWR")), "input 'origin' has shape [2] and 'distance' [1]"),
        ((GOOD, origin("JFK"), tensor("flight_id", ["a", "b"], "BYTES")), "input 'flight_id' has shape [2]"),
        (
            (tensor("distance", ["far"]), origin("JFK")),
            "input 'distance' got 'far' at place 0: it is no FP32, nor null",
        ),
        ((tensor("distance", [True]), origin("JFK")), "input 'distance' got True at place 0"),
        ((tensor("distance", [[7]]), origin("JFK")), "input 'distance' got [7] at place 0"),
        ((tensor("distance", [7.5], "INT64"), origin("JFK")), "input 'distance' got 7.5 at place 0: it is no INT64"),
        (
            (tensor("distance", [128], "INT8"), origin("JFK")),
            "input 'distance' got 128 at place 0: INT8 is from -128 to 127",
        ),
        ((tensor("distance", [-1], "UINT8"), origin("JFK")), "UINT8 is from 0 to 255"),
        (
            (tensor("distance", [1e39], "FP64"), origin("JFK")),
            "feature 'distance' holds a number that is infinite or beyond",
        ),
        (
            (tensor("all", [7, 1, 1], shape=[1, 3]),),
            "input 'all' has shape [1, 3]: it must be [n, 2], in this order: distance",
        ),
        ((tensor("all", [7, 1], "INT64", shape=[1, 2]),), "input 'all' has datatype 'INT64'; allowed: FP32, FP64"),
        ((tensor("all", [[7, 1], [7]], shape=[2, 2]),), "input 'all': its nested data is not of its shape [2, 2]"),
        (
            (tensor("all", [7, 2], shape=[1, 2]),),
            "input 'all': feature 'origin' got 2: a category's code is its place, 0 to 1",
        ),
        ((tensor("all", [7, 0.5], shape=[1, 2]),), "feature 'origin' got 0.5"),
    ],
)
def test_inputs_are_refused_by_the_one_at_fault(inputs: tuple[Json, ...], message: str) -> None:
    with pytest.raises(RefusedRequest) as refused:
        parsed(*inputs)
    assert refused.value.status == 400
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: not JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": [], "x": 1}', "unknown field `x`"),
        (b'{"inputs": [{"name": "distance"}]}', "missing required field `shape` - at `$.inputs[0]`"),
        (
            b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP32", "data": [NaN]}]}',
            "`$.inputs[0].data[0]`",
        ),
        (b'{"inputs": [], "id": 7}', "Expected `str`, got `int` - at `$.id`"),
        (b'{"inputs": [], "outputs": [{"name": "label"}]}', "output 'label' is unknown; allowed: score"),
    ],
)
def test_a_malformed_body_is_refused_by_the_field_at_fault(body: bytes, message: str) -> None:
    with pytest.raises(RefusedRequest) as refused:
        parse(body, SIGNATURE, NOW)
    assert message in str(refused.value)


def test_a_tensor_of_an_optional_feature_may_be_left_out() -> None:
    flights = tensor("flight_id", ["a", "b"], "BYTES")
    body = json.dumps({"inputs": [tensor("distance", [7, 8]), flights]}).encode()
    rows = parse(body, SIGNATURE, NOW, ("origin",))
    assert (rows.absent, rows.entities) == (("origin",), ["a", "b"])


def test_a_single_tensor_leaves_nothing_out() -> None:
    body = json.dumps({"inputs": [tensor("all", [7, None], shape=[1, 2])]}).encode()
    assert parse(body, SIGNATURE, NOW, ("origin",)).absent == ()
