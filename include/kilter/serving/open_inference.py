"""The Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it: JSON over HTTP, without extensions.

A request is one tensor a feature, `[n]` or `[n, 1]`, named after it; or a single tensor `[n, features]` in the
signature's order, in which a category is its code: its place in the feature's list. A missing value is null. Only a
tensor of its own can be left out to have the feature looked up.

Source: Open Inference Protocol, HTTP/REST, https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from kilter.encoding import Signature
from kilter.serving.models import LoadedModel
from kilter.serving.request import RefusedRequest, Rows, check_names, decode, rows_of
from kilter.serving.score import Score
from kilter.spec import Feature

OUTPUT = "score"
FLOATS = ("FP32", "FP64")
INTEGERS = tuple(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
TEXTS = ("BYTES",)
_PLATFORM = "kilter"
"""The protocol asks what runs the model. What computes the scores is told at `/models/<model>/ready`."""
_OPTIONAL = {"parameters": {"optional": True}}
_FLOAT_TYPES = frozenset[type]((int, float, type(None)))
_INTEGER_TYPES = frozenset[type]((int, type(None)))
_TEXT_TYPES = frozenset[type]((str, type(None)))


class Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """An input: its values in row-major order, flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | UnsetType = UNSET


class Output(msgspec.Struct, forbid_unknown_fields=True):
    """An output that the client asks for; there is one, so it may as well not ask."""

    name: str
    parameters: dict[str, Any] | UnsetType = UNSET


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an inference. `parameters`, here and in tensors, are accepted and change nothing."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] | UnsetType = UNSET
    outputs: list[Output] = []


_decoder = msgspec.json.Decoder(Body)


def parse(body: bytes, signature: Signature, now: datetime, optional: Sequence[str] = ()) -> Rows:
    """Parse the body of an inference.

    Args:
        optional: features that may be left out.

    Raises:
        RefusedRequest: not JSON, or an input is missing, unknown, or of the wrong shape or datatype.
    """
    request = decode(body, _decoder)
    for output in request.outputs:
        if output.name != OUTPUT:
            raise RefusedRequest(400, f"output '{output.name}' is unknown; allowed: {OUTPUT}")
    if _is_matrix(request.inputs, signature):
        columns, count = _matrix_columns(request.inputs[0], signature)
    else:
        columns, count = _tensor_columns(request.inputs, signature)
    if count == 0:
        raise RefusedRequest(400, "inputs: no rows: give at least one")
    return rows_of(columns, count, signature, now, optional, request.id)


def metadata(model: LoadedModel) -> dict[str, Any]:
    """What a client needs to know to ask this model."""
    signature = model.signature
    features = [
        {"name": feature.name, "datatype": datatypes(feature)[0], "shape": [-1]}
        | (_OPTIONAL if feature.name in model.optional else {})
        for feature in signature.features
    ]
    keys = [
        {"name": name, "datatype": TEXTS[0], "shape": [-1]} | _OPTIONAL
        for name in (signature.entity, signature.timestamp)
    ]
    return {
        "name": model.deployment.model,
        "versions": [str(model.deployment.version)],
        "platform": _PLATFORM,
        "inputs": features + keys,
        "outputs": [_output(signature)],
    }


def _output(signature: Signature) -> dict[str, Any]:
    output: dict[str, Any] = {"name": OUTPUT, "datatype": FLOATS[0], "shape": [-1]}
    if classes := signature.classes:
        # Parameters hold no lists, so the classes are the text of one.
        output |= {"shape": [-1, len(classes)], "parameters": {"classes": json.dumps(classes, ensure_ascii=False)}}
    return output


def answer(model: LoadedModel, scores: Sequence[Score], id: str) -> dict[str, Any]:
    """The scores, row after row, as the answer to the request that the client calls `id`."""
    shape, data = [len(scores)], scores
    if classes := model.signature.classes:
        shape, data = [len(scores), len(classes)], [*chain.from_iterable(cast(Sequence[list[float]], scores))]
    return {
        "model_name": model.deployment.model,
        "model_version": str(model.deployment.version),
        "id": id,
        "outputs": [{"name": OUTPUT, "datatype": FLOATS[0], "shape": shape, "data": data}],
    }


def datatypes(feature: Feature) -> tuple[str, ...]:
    """The datatypes that a feature's tensor may have, the one to prefer first."""
    return TEXTS if feature.categories else FLOATS + INTEGERS


def key_datatypes(name: str, signature: Signature) -> tuple[str, ...]:
    """The datatypes that the tensor of the entity or the timestamp may have."""
    return TEXTS + INTEGERS if name == signature.entity else TEXTS


def _is_matrix(inputs: Sequence[Tensor], signature: Signature) -> bool:
    """Whether it is one tensor for all features, under any name that is no column's."""
    columns = {signature.entity, signature.timestamp, *signature.names}
    return len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in columns


def _tensor_columns(inputs: Sequence[Tensor], signature: Signature) -> tuple[dict[str, Sequence[Any]], int]:
    """The columns of one tensor each, and the number of rows."""
    check_names([tensor.name for tensor in inputs], signature, "input")
    allowed = {feature.name: datatypes(feature) for feature in signature.features}
    columns: dict[str, Sequence[Any]] = {}
    for tensor in inputs:
        if tensor.shape[1:] not in ([], [1]) or len(tensor.shape) == 0:
            raise RefusedRequest(400, f"input '{tensor.name}' has shape {tensor.shape}: it must be [n] or [n, 1]")
        if tensor.shape[0] != inputs[0].shape[0]:
            raise RefusedRequest(
                400,
                f"input '{tensor.name}' has shape {tensor.shape} and '{inputs[0].name}' {inputs[0].shape}: as many rows each",
            )
        columns[tensor.name] = _values(tensor, allowed.get(tensor.name) or key_datatypes(tensor.name, signature))
    return columns, inputs[0].shape[0] if inputs else 0


def _matrix_columns(tensor: Tensor, signature: Signature) -> tuple[dict[str, Sequence[Any]], int]:
    """The columns of a single tensor, and the number of rows."""
    rows, width = tensor.shape
    if width != len(signature.names):
        raise RefusedRequest(
            400,
            f"input '{tensor.name}' has shape {tensor.shape}: it must be [n, {len(signature.names)}], "
            f"in this order: {', '.join(signature.names)}",
        )
    values = _values(tensor, FLOATS)
    columns: dict[str, Sequence[Any]] = {
        feature.name: values[place::width] for place, feature in enumerate(signature.features)
    }
    for feature in signature.features:
        if feature.categories:
            columns[feature.name] = [_category(tensor, feature, code) for code in columns[feature.name]]
    return columns, rows


def _category(tensor: Tensor, feature: Feature, code: float | None) -> str | None:
    if code is None:
        return None
    if not (math.isfinite(code) and code == int(code) and 0 <= code < len(feature.categories)):
        raise RefusedRequest(
            400,
            f"input '{tensor.name}': feature '{feature.name}' got {code!r}: a category's code is its place, "
            f"0 to {len(feature.categories) - 1}, among {', '.join(feature.categories)}; null where it is missing",
        )
    return feature.categories[int(code)]


def _values(tensor: Tensor, allowed: Sequence[str]) -> list[Any]:
    """The tensor's values, flat; `RefusedRequest` unless they are as many and of the type that it says."""
    if tensor.datatype not in allowed:
        raise RefusedRequest(
            400, f"input '{tensor.name}' has datatype '{tensor.datatype}'; allowed: {', '.join(allowed)}"
        )
    values = _flat(tensor)
    types = _types(tensor.datatype)
    if not types.issuperset(map(type, values)):
        place, wrong = next((place, value) for place, value in enumerate(values) if type(value) not in types)
        raise RefusedRequest(
            400, f"input '{tensor.name}' got {wrong!r} at place {place}: it is no {tensor.datatype}, nor null"
        )
    if tensor.datatype in INTEGERS:
        _check_range(tensor, values)
    return values


def _types(datatype: str) -> frozenset[type]:
    """Types of JSON values that a datatype takes; null is a missing value in all."""
    if datatype in TEXTS:
        return _TEXT_TYPES
    return _FLOAT_TYPES if datatype in FLOATS else _INTEGER_TYPES


def _check_range(tensor: Tensor, values: Sequence[int | None]) -> None:
    bits = int(tensor.datatype.partition("INT")[2])
    low, high = (0, 2**bits - 1) if tensor.datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for place, value in enumerate(values):
        if value is not None and not low <= value <= high:
            raise RefusedRequest(
                400, f"input '{tensor.name}' got {value} at place {place}: {tensor.datatype} is from {low} to {high}"
            )


def _flat(tensor: Tensor) -> list[Any]:
    """Flat data as it is, nested data row after row."""
    data, shape = tensor.data, tensor.shape
    if len(shape) == 2 and data and all(type(row) is list for row in data):
        if len(data) != shape[0] or any(len(row) != shape[1] for row in data):
            raise RefusedRequest(400, f"input '{tensor.name}': its nested data is not of its shape {shape}")
        return [value for row in data for value in row]
    if len(data) != math.prod(shape):
        raise RefusedRequest(400, f"input '{tensor.name}' has {len(data)} values for shape {shape}")
    return data
