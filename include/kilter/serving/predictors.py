"""What computes the scores of a loaded model.

`onnxruntime` scores one row in a tenth of XGBoost's time, and a hundred rows in more than XGBoost's time. So boosted trees
are made into a graph when they are loaded; the graph scores few rows, XGBoost many, once both were seen to agree. A
model that cannot be made so, or does not agree, is scored by XGBoost alone. Figures: docs/decisions/0008-predictors.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError
from kilter.onnx_graph import OnnxGraph
from kilter.serving import ubjson
from kilter.serving.booster import Booster
from kilter.serving.score import Score
from kilter.serving.trees import Trees, to_onnx, trying_rows
from kilter.spec import Task

TOLERANCE = 1e-6
"""How far a probability of the graph may be from XGBoost's; sums of float32 leaves in another order differ by less.

Of a regression it is a share of the largest score, since a float32 is no finer than that."""
FEW_ROWS = 12
"""Up to so many rows of a request, the graph is the quicker one."""
_SUM_TOLERANCE = 1e-3
"""How far probabilities of all classes may sum from 1; those of float32 sum closer."""
_TRIED_ROWS = 2048


class Predictor(Protocol):
    """Computes scores."""

    @property
    def name(self) -> str:
        """What computes them; `/ready` tells it."""

    def predict(self, rows: Matrix) -> Sequence[Score]:
        """Score rows, one after the other."""


class Graph:
    """An ONNX model of a signature.

    Args:
        data: the ONNX file.
        signature: says whether there are classes.
        owner: what the bytes are, for errors.

    Raises:
        DataError: as of `OnnxGraph`.
    """

    name = "onnxruntime"

    def __init__(self, data: bytes, signature: Signature, owner: str) -> None:
        self._graph = OnnxGraph(data, owner)
        self._of_classes = bool(signature.classes)
        self.features = self._graph.features

    def predict(self, rows: Matrix) -> Sequence[Score]:
        output: Any = self._graph.scores(rows)
        scores: list[Score] = output.tolist() if self._of_classes else output.ravel().tolist()
        return scores


class QuickTrees:
    """Boosted trees as a graph for few rows, and as XGBoost's booster for many; both give the same scores."""

    name = "onnxruntime"

    def __init__(self, graph: Graph, booster: Booster) -> None:
        self._graph = graph
        self._booster = booster

    def predict(self, rows: Matrix) -> Sequence[Score]:
        return (self._graph if len(rows) <= FEW_ROWS else self._booster).predict(rows)


class SlowTrees:
    """Boosted trees that only XGBoost itself scores, because of `reason`."""

    def __init__(self, booster: Booster, reason: str) -> None:
        self._booster = booster
        self.name = f"xgboost, since no graph: {reason}"

    def predict(self, rows: Matrix) -> Sequence[Score]:
        return self._booster.predict(rows)


def of_onnx(data: bytes, signature: Signature, owner: str) -> Predictor:
    """The predictor of an ONNX file.

    Raises:
        DataError: it cannot be run, takes other rows than the signature says, or gives no score of the signature's
            task for a row of zeros or of missing values.
    """
    graph = Graph(data, signature, owner)
    _check_features(graph.features, signature, owner)
    _check_scores(graph, signature, owner)
    return graph


def of_booster(data: bytes, signature: Signature, owner: str) -> Predictor:
    """The predictor of a UBJSON file.

    Raises:
        DataError: it is no XGBoost model in UBJSON, takes another number of features than the signature says, or gives
            no score of the signature's task for a row of zeros or of missing values.
    """
    try:
        document = ubjson.read(data)
    except DataError as error:
        raise DataError(
            f"{owner} is no XGBoost model in UBJSON, the only format of it that is loaded: {error}: train it again"
        ) from None
    booster = Booster(data, owner)
    _check_features(booster.features, signature, owner)
    _check_scores(booster, signature, owner)
    try:
        return QuickTrees(_graph(document, booster, signature, owner), booster)
    except DataError as error:
        return SlowTrees(booster, str(error))


def tree_graph(document: Any, signature: Signature) -> tuple[bytes, Matrix]:
    """A booster as an ONNX file, and rows on which the two would differ, if they did.

    Raises:
        DataError: no such graph gives its scores: see `kilter.serving.trees`.
    """
    trees = Trees.of(document)
    categories = [len(feature.categories or ()) for feature in signature.features]
    if unknown := {int(feature) for feature in trees.feature[trees.categorical] if not categories[feature]}:
        raise DataError(f"it splits {signature.names[min(unknown)]} by category, which is a number in the signature")
    return to_onnx(trees), trying_rows(trees, categories, _TRIED_ROWS)


def check_agreement(scores: Sequence[Score], expected: Sequence[Score], task: Task) -> None:
    """Whether scores of the same rows are equal but for `TOLERANCE`; a DataError says how far apart they are."""
    wanted = np.array(expected)
    differ = float(np.abs(np.array(scores) - wanted).max())
    allowed = TOLERANCE * (float(np.abs(wanted).max()) if task == "regression" else 1.0)
    if not differ <= allowed:
        raise DataError(f"its scores differ from the model's by up to {differ:.2g}; allowed: {allowed:.2g}")


def _graph(document: Any, booster: Booster, signature: Signature, owner: str) -> Graph:
    """The booster as a graph; a DataError where that cannot be or where it gives other scores."""
    data, rows = tree_graph(document, signature)
    graph = Graph(data, signature, owner)
    check_agreement(_scores(graph, rows, owner), booster.predict(rows), signature.task)
    return graph


def _scores(predictor: Graph | Booster, rows: Matrix, owner: str) -> Sequence[Score]:
    try:
        return predictor.predict(rows)
    except Exception as error:  # as above
        raise DataError(f"{owner} fails on rows of its own: {error}: train or export it again") from None


def _check_scores(predictor: Graph | Booster, signature: Signature, owner: str) -> None:
    wanted = {
        "binary": "two probabilities",
        "multiclass": f"twice {len(signature.classes)} probabilities that sum to 1",
        "regression": "two finite numbers",
    }
    for value in (0.0, np.nan):
        scores = _scores(predictor, np.full((2, len(signature.names)), value, np.float32), owner)
        if len(scores) != 2 or not all(_fits(score, signature) for score in scores):
            raise DataError(
                f"{owner} gives {scores} for two rows of {value}: expected {wanted[signature.task]}, for the signature's "
                f"task is {signature.task}: train or export it so"
            )


def _fits(score: Score, signature: Signature) -> bool:
    """Whether a score is one of the signature's task."""
    if isinstance(score, list):
        shares = len(score) == len(signature.classes) and all(0 <= share <= 1 for share in score)
        return shares and math.isclose(sum(score), 1, abs_tol=_SUM_TOLERANCE)
    if signature.task == "regression":
        return math.isfinite(score)
    return signature.task == "binary" and 0 <= score <= 1


def _check_features(features: Any, signature: Signature, owner: str) -> None:
    if features != len(signature.names):
        raise DataError(
            f"{owner}: the model takes {features} features and its signature has {len(signature.names)}: train it again"
        )
