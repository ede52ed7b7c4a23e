"""A model's graph with a named input for each feature, so that whoever runs it need not know how rows are encoded.

    hour     float  [rows]                    ─► column ─┐
    origin   string [rows] ─► code of the text ─► column ─┼─► matrix ─► the model ─► score
    …                                                     ┘

A text that is not listed, the empty one included, becomes NaN, as in `kilter.encoding.encode`. Columns of different lengths are refused
by onnxruntime, since each becomes a column of the matrix by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

    from kilter.spec import Feature

OUTPUT = "score"
"""As the model server's output is called; no feature may have this name."""
MISSING_TEXT = ""
"""Given for a category that is missing; any other text that is not listed does as well."""

_MATRIX = "features.matrix"
_MODEL = "model."
_SCORES = "score.source"
_ROWS = "rows"
"""Names within the graph have a dot, and a feature's name has none."""
_OPERATORS = {"": 13, "ai.onnx.ml": 3}
"""Versions of the operator sets where the model itself names none."""


def with_named_inputs(data: bytes, signature: Signature, metadata: Mapping[str, str]) -> bytes:
    """An ONNX file that takes a feature by name: float rows for a number, string rows for a category.

    Its only output, `score`, has shape (rows,), or of several classes (rows, classes), whose names are in the metadata.

    Args:
        data: an ONNX file from a float matrix, rows × features, to scores.
        metadata: further facts to keep in the file.

    Raises:
        DataError: a feature lists the empty text as a category, or the graph is not a valid one.
    """
    import onnx
    from onnx import compose, helper

    _check_texts(signature)
    model = onnx.load_model_from_string(data)
    versions = _OPERATORS | {item.domain: item.version for item in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*item) for item in versions.items())
    (matrix,), (scores,) = _inputs(model), model.graph.output
    try:
        joined = compose.merge_models(_front(signature, model), model, [(_MATRIX, matrix)], prefix2=_MODEL)
        joined = compose.merge_models(joined, _back(signature, model), [(_MODEL + scores.name, _SCORES)])
        del joined.opset_import[:]
        joined.opset_import.extend(model.opset_import)
        for key, value in {**metadata, "classes": json.dumps(signature.classes)}.items():
            joined.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(joined, full_check=True)
    except (ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DataError(
            f"no inputs by name can be put before this model's graph: {error}: train the model again"
        ) from error
    return joined.SerializeToString(deterministic=True)


def score(data: bytes, columns: Mapping[str, Any]) -> list[Any]:
    """Score columns of equal length, by a feature's name, with such a file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    scores: list[Any] = session.run([OUTPUT], dict(columns))[0].tolist()
    return scores


def to_columns(matrix: Matrix, signature: Signature) -> dict[str, Any]:
    """The columns that an encoded matrix comes from: float32 arrays and arrays of texts.

    A missing category is by turns the empty text and one that no feature lists.
    """
    columns = {}
    for values, feature in zip(matrix.T, signature.features, strict=True):
        columns[feature.name] = _texts(values, feature) if feature.categories else values
    return columns


def _texts(codes: Matrix, feature: Feature) -> Any:
    strange = "not " + " or ".join(feature.categories)
    missing = [MISSING_TEXT, strange]
    return np.array(
        [missing[row % 2] if np.isnan(code) else feature.categories[int(code)] for row, code in enumerate(codes)],
        dtype=object,
    )


def _check_texts(signature: Signature) -> None:
    for feature in signature.features:
        if MISSING_TEXT in feature.categories:
            raise DataError(
                f"feature '{feature.name}' lists '{MISSING_TEXT}' as a category, which means missing outside of Kilter: "
                "give it another name in the data and in model.yaml, and train again"
            )


def _inputs(model: ModelProto) -> list[str]:
    """Names of the inputs; older files list initial values among them."""
    initial = {item.name for item in model.graph.initializer}
    return [item.name for item in model.graph.input if item.name not in initial]


def _front(signature: Signature, model: ModelProto) -> ModelProto:
    """From a feature's values to the matrix."""
    from onnx import TensorProto, helper

    nodes, columns = [], []
    for feature in signature.features:
        values = feature.name
        if feature.categories:
            values = f"{feature.name}.code"
            nodes.append(_code(feature, signature, values))
        columns.append(f"{feature.name}.column")
        nodes.append(helper.make_node("Reshape", [values, "features.shape"], [columns[-1]]))
    nodes.append(helper.make_node("Concat", columns, [_MATRIX], axis=1))
    matrix = helper.make_tensor_value_info(_MATRIX, TensorProto.FLOAT, [_ROWS, len(columns)])
    shape = helper.make_tensor("features.shape", TensorProto.INT64, [2], [-1, 1])
    inputs = [_input(feature) for feature in signature.features]
    return _part(model, helper.make_graph(nodes, "features", inputs, [matrix], [shape]))


def _input(feature: Feature) -> ValueInfoProto:
    from onnx import TensorProto, helper

    kind = TensorProto.STRING if feature.categories else TensorProto.FLOAT
    return helper.make_tensor_value_info(feature.name, kind, [_ROWS])


def _code(feature: Feature, signature: Signature, target: str) -> NodeProto:
    """The place of a text among the feature's categories; NaN for one that is not listed."""
    from onnx import helper

    codes = signature.codes[feature.name]
    return helper.make_node(
        "LabelEncoder",
        [feature.name],
        [target],
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_floats=list(codes.values()),
        default_float=float("nan"),
    )


def _back(signature: Signature, model: ModelProto) -> ModelProto:
    """From what the model gives to `score`: whether (rows,) or (rows, 1), one number a row is a vector."""
    from onnx import TensorProto, helper

    width = [len(signature.classes)] if signature.classes else []
    source = helper.make_tensor_value_info(_SCORES, TensorProto.FLOAT, None)
    target = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [_ROWS, *width])
    shape = helper.make_tensor("score.shape", TensorProto.INT64, [1 + len(width)], [-1, *width])
    reshape = helper.make_node("Reshape", [_SCORES, shape.name], [OUTPUT])
    return _part(model, helper.make_graph([reshape], "score", [source], [target], [shape]))


def _part(model: ModelProto, graph: Any) -> ModelProto:
    """A graph as a model of the same versions, so that the two can be joined."""
    from onnx import helper

    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
