"""What computes the scores of a loaded model.

`onnxruntime` scores one row in a tenth of XGBoost's time, and a hundred rows in more than XGBoost's time. So boosted trees
are made into a graph when they are loaded; the graph scores few rows, XGBoost many, once both were seen to agree. A
model that cannot be made so, or does not agree, is scored by XGBoost alone. Figures: docs/decisions/0008-predictors.md.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import onnxruntime

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError
from kilter.serving import ubjson
from kilter.serving.booster import Booster
from kilter.serving.trees import Trees, to_onnx, trying_rows

TOLERANCE = 1e-6
"""How far a probability of the graph may be from XGBoost's; sums of float32 leaves in another order differ by less."""
FEW_ROWS = 12
"""Up to so many rows of a request, the graph is the quicker one."""
_TRIED_ROWS = 2048
_FATAL = 4
"""onnxruntime's log level; what it would print before, it raises as well."""


class Predictor(Protocol):
    """Computes scores."""

    @property
    def name(self) -> str:
        """What computes them; `/ready` tells it."""

    def predict(self, rows: Matrix) -> list[float]:
        """Score rows: the probability of the positive class, one a row."""


class Graph:
    """An ONNX model: one input, float rows × features; one output, a float probability for each row.

    Args:
        data: the ONNX file. Weights in files beside it are refused, since there is no file system to it.
        owner: what the bytes are, for errors.

    Raises:
        DataError: onnxruntime refuses it, or input or output are others.
    """

    name = "onnxruntime"

    def __init__(self, data: bytes, owner: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no other base
            raise DataError(f"{owner} is no ONNX model that onnxruntime runs: {error}: export it again") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [(item.type, len(item.shape)) for item in (*inputs, *outputs)]
        if shapes not in ([("tensor(float)", 2)] * 2, [("tensor(float)", 2), ("tensor(float)", 1)]):
            raise DataError(
                f"{owner} takes and gives {shapes}: expected one float matrix, and one float column or vector: export it so"
            )
        self._input = inputs[0].name
        self._outputs = [outputs[0].name]
        self.features = inputs[0].shape[1]

    def predict(self, rows: Matrix) -> list[float]:
        scores: list[float] = self._session.run(self._outputs, {self._input: rows})[0].ravel().tolist()
        return scores


class QuickTrees:
    """Boosted trees as a graph for few rows, and as XGBoost's booster for many; both give the same scores."""

    name = "onnxruntime"

    def __init__(self, graph: Graph, booster: Booster) -> None:
        self._graph = graph
        self._booster = booster

    def predict(self, rows: Matrix) -> list[float]:
        return (self._graph if len(rows) <= FEW_ROWS else self._booster).predict(rows)


class SlowTrees:
    """Boosted trees that only XGBoost itself scores, because of `reason`."""

    def __init__(self, booster: Booster, reason: str) -> None:
        self._booster = booster
        self.name = f"xgboost, since no graph: {reason}"

    def predict(self, rows: Matrix) -> list[float]:
        return self._booster.predict(rows)


def of_onnx(data: bytes, signature: Signature, owner: str) -> Predictor:
    """The predictor of an ONNX file.

    Raises:
        DataError: it cannot be run, takes other rows than the signature says, or gives no probability for a row of
            zeros or of missing values.
    """
    graph = Graph(data, owner)
    _check_features(graph.features, signature, owner)
    for row in (0.0, np.nan):
        rows = np.full((2, len(signature.names)), row, np.float32)
        scores = _scores(graph, rows, owner)
        if len(scores) != len(rows) or not all(0 <= score <= 1 for score in scores):
            raise DataError(f"{owner} gives {scores} for two rows of {row}: expected two probabilities: export it so")
    return graph


def of_booster(data: bytes, signature: Signature, owner: str) -> Predictor:
    """The predictor of a UBJSON file.

    Raises:
        DataError: it is no XGBoost model in UBJSON, or takes another number of features than the signature says.
    """
    try:
        document = ubjson.read(data)
    except DataError as error:
        raise DataError(
            f"{owner} is no XGBoost model in UBJSON, the only format of it that is loaded: {error}: train it again"
        ) from None
    booster = Booster(data, owner)
    _check_features(booster.features, signature, owner)
    try:
        return QuickTrees(_graph(document, booster, signature, owner), booster)
    except DataError as error:
        return SlowTrees(booster, str(error))


def _graph(document: Any, booster: Booster, signature: Signature, owner: str) -> Graph:
    """The booster as a graph; a DataError where that cannot be or where it gives other scores."""
    trees = Trees.of(document)
    categories = [len(feature.categories or ()) for feature in signature.features]
    if unknown := {int(feature) for feature in trees.feature[trees.categorical] if not categories[feature]}:
        raise DataError(f"it splits {signature.names[min(unknown)]} by category, which is a number in the signature")
    graph = Graph(to_onnx(trees), owner)
    rows = trying_rows(trees, categories, _TRIED_ROWS)
    differ = float(np.abs(np.subtract(_scores(graph, rows, owner), booster.predict(rows))).max())
    if not differ <= TOLERANCE:
        raise DataError(f"its scores differ from XGBoost's by up to {differ:.2g}; allowed: {TOLERANCE:g}")
    return graph


def _scores(graph: Graph, rows: Matrix, owner: str) -> list[float]:
    try:
        return graph.predict(rows)
    except Exception as error:  # as above
        raise DataError(f"{owner} fails on rows of its own: {error}: export it again") from None


def _check_features(features: Any, signature: Signature, owner: str) -> None:
    if features != len(signature.names):
        raise DataError(
            f"{owner}: the model takes {features} features and its signature has {len(signature.names)}: train it again"
        )
