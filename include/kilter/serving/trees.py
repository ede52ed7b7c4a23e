"""An XGBoost model as an ONNX graph that gives the same scores, categories and missing values included.

A split of XGBoost on a number, `value < threshold` with a direction for a missing value, is one of ONNX. A split on a
category, `code in set`, is made of one test `code == c` for each c of the set: where one holds, the row goes right, as
with XGBoost; a missing value goes right at the first test, or left through all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kilter.encoding import Matrix
from kilter.errors import DataError
from kilter.serving import onnx_file

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float32]

_LEAF = -1
"""XGBoost's left child of a leaf."""
_LINKS = {"binary:logistic": "Sigmoid", "multi:softprob": "Softmax", "reg:squarederror": "", "reg:absoluteerror": ""}
"""ONNX's operator that makes scores of the sums of leaves, for each objective; none where the sums are the scores."""
_MODES = ["LEAF", "BRANCH_LT", "BRANCH_EQ"]
_IS_LEAF, _IS_NUMERIC, _IS_CATEGORICAL = range(3)


@dataclass(frozen=True)
class Trees:
    """All nodes of a model's trees, one after the other; children and categories are places in these arrays.

    Args:
        features: how many features the model takes.
        link: ONNX's operator that makes scores of the sums of leaves, or none.
        margins: what the leaves are added to, for each number of a score: one, or one a class.
        place: for each tree, to which of these its leaves are added.
        tree: the tree of each node.
        left: its left child; of a leaf, -1.
        right: its right child.
        feature: the feature that it splits on.
        value: the threshold of a split on a number, or the leaf's value.
        missing_left: whether a missing value goes left.
        categorical: the nodes that split on a category.
        begin: for each of these, where its categories begin.
        size: and how many there are.
        categories: the codes that go right.
    """

    features: int
    link: str
    margins: Numbers
    place: Integers
    tree: Integers
    left: Integers
    right: Integers
    feature: Integers
    value: Numbers
    missing_left: npt.NDArray[np.bool_]
    categorical: Integers
    begin: Integers
    size: Integers
    categories: Integers

    @classmethod
    def of(cls, document: Any) -> Trees:
        """The trees of a model that XGBoost saved; schema: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.

        Raises:
            DataError: it is not boosted trees of an objective that is known here, or not as that schema has it.
        """
        try:
            learner = document["learner"]
            objective, booster = learner["objective"]["name"], learner["gradient_booster"]["name"]
            if objective not in _LINKS or booster != "gbtree":
                raise DataError(f"{objective} by {booster} is none of {', '.join(_LINKS)} by gbtree")
            parameters, link = learner["learner_model_param"], _LINKS[objective]
            model = learner["gradient_booster"]["model"]
            margins = _margins(parameters["base_score"], link, max(1, int(parameters["num_class"])))
            place = np.array(model["tree_info"], np.int64)
            if not np.array_equal(np.unique(place), np.arange(len(margins))):
                raise DataError("no trees, or none for some class, or one for all classes together")
            return cls(int(parameters["num_feature"]), link, margins, place, **_arrays(model["trees"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not XGBoost's schema: {error!r}") from None


def _margins(base_score: str, link: str, width: int) -> Numbers:
    """The base score as what leaves are added to; files of before XGBoost 3.1 have one for all classes."""
    values = [float(text) for text in base_score.strip("[]").split(",")]
    if link == "Sigmoid":
        values = [math.log(value / (1 - value)) for value in values]
    return np.broadcast_to(np.array(values, np.float32), width)


def _arrays(trees: list[dict[str, Any]]) -> dict[str, Any]:

    def joined(name: str) -> Any:
        return np.concatenate([tree[name] for tree in trees])

    def shifted(name: str, by: str) -> Any:
        """Places in one tree's array `by`, as places in all trees' arrays joined."""
        counts = np.array([len(tree[by]) for tree in trees])
        lengths = [len(tree[name]) for tree in trees]
        return joined(name).astype(np.int64) + np.repeat(np.cumsum(counts) - counts, lengths)

    left, right = shifted("left_children", "left_children"), shifted("right_children", "left_children")
    leaf = joined("left_children") == _LEAF
    return {
        "tree": np.repeat(np.arange(len(trees)), [len(tree["left_children"]) for tree in trees]),
        "left": np.where(leaf, _LEAF, left),
        "right": np.where(leaf, _LEAF, right),
        "feature": joined("split_indices").astype(np.int64),
        "value": joined("split_conditions"),
        "missing_left": joined("default_left").astype(bool),
        "categorical": shifted("categories_nodes", "left_children"),
        "begin": shifted("categories_segments", "categories"),
        "size": joined("categories_sizes").astype(np.int64),
        "categories": joined("categories").astype(np.int64),
    }


def to_onnx(trees: Trees) -> bytes:
    """The graph, from rows × features to rows × the numbers of a score.

    Raises:
        DataError: a split on a category has an empty set.
    """
    if (trees.size < 1).any():
        raise DataError("a split on a category sends none of them right")
    nodes = _simple_nodes(trees)
    for name, values in _tests(trees).items():
        nodes[name] = np.concatenate([nodes[name], values])
    order = np.lexsort((nodes["nodes_nodeids"], nodes["nodes_treeids"]))
    nodes = {name: values[order] for name, values in nodes.items()}
    (leaves,) = np.nonzero(_reached(trees) & (trees.left == _LEAF))
    used = np.sort(nodes["nodes_nodeids"])
    for name in ("nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids"):
        # onnxruntime wants numbers below the number of nodes.
        nodes[name] = np.searchsorted(used, nodes[name])
    modes = [_MODES[kind] for kind in nodes.pop("mode").tolist()]
    ensemble: dict[str, onnx_file.Attribute] = {
        **nodes,
        "nodes_modes": modes,
        "target_treeids": trees.tree[leaves],
        "target_nodeids": np.searchsorted(used, leaves),
        "target_ids": trees.place[trees.tree[leaves]],
        "target_weights": trees.value[leaves] + _added(trees)[trees.tree[leaves]],
        "n_targets": len(trees.margins),
    }
    sums = "margins" if trees.link else "scores"
    operators = [onnx_file.node("TreeEnsembleRegressor", "rows", sums, "ai.onnx.ml", ensemble)]
    if trees.link:
        operators.append(onnx_file.node(trees.link, sums, "scores", "", {}))
    return onnx_file.model(operators, trees.features, len(trees.margins))


def _added(trees: Trees) -> Numbers:
    """For each tree what is added to its leaves: a margin to the first of its place, else nothing.

    Not at the end, so that all is added in XGBoost's order and rounded alike.
    """
    added = np.zeros(len(trees.place), np.float32)
    _, first = np.unique(trees.place, return_index=True)
    added[first] = trees.margins
    return added


def _reached(trees: Trees) -> npt.NDArray[np.bool_]:
    """The nodes that are the root of their tree or somebody's child; pruning leaves others behind."""
    reached = np.diff(trees.tree, prepend=-1) > 0
    for children in (trees.left, trees.right):
        reached[children[children != _LEAF]] = True
    return reached


def _simple_nodes(trees: Trees) -> dict[str, Any]:
    """ONNX's nodes that are leaves and splits on numbers."""
    kept = _reached(trees)
    kept[trees.categorical] = False
    (places,) = np.nonzero(kept)
    leaf = trees.left[places] == _LEAF
    return {
        "nodes_treeids": trees.tree[places],
        "nodes_nodeids": places,
        "nodes_featureids": np.where(leaf, 0, trees.feature[places]),
        "nodes_values": np.where(leaf, np.float32(0), trees.value[places]),
        "nodes_truenodeids": np.where(leaf, places, trees.left[places]),
        "nodes_falsenodeids": np.where(leaf, places, trees.right[places]),
        "nodes_missing_value_tracks_true": (trees.missing_left[places] & ~leaf).astype(np.int64),
        "mode": np.where(leaf, _IS_LEAF, _IS_NUMERIC),
    }


def _tests(trees: Trees) -> dict[str, Any]:
    """ONNX's nodes that are tests for one category, as many as the split has categories."""
    owner = np.repeat(trees.categorical, trees.size)
    first = np.cumsum(trees.size) - trees.size
    within = np.arange(len(owner)) - np.repeat(first, trees.size)
    # The first test has the number of the split itself; the others follow all nodes.
    numbers = np.where(within == 0, owner, len(trees.tree) + np.arange(len(owner)))
    last = within == np.repeat(trees.size, trees.size) - 1
    return {
        "nodes_treeids": trees.tree[owner],
        "nodes_nodeids": numbers,
        "nodes_featureids": trees.feature[owner],
        "nodes_values": trees.categories[np.repeat(trees.begin, trees.size) + within].astype(np.float32),
        "nodes_truenodeids": trees.right[owner],
        "nodes_falsenodeids": np.where(last, trees.left[owner], np.roll(numbers, -1)),
        "nodes_missing_value_tracks_true": (~trees.missing_left[owner]).astype(np.int64),
        "mode": np.full(len(owner), _IS_CATEGORICAL),
    }


def trying_rows(trees: Trees, categories: list[int], count: int) -> Matrix:
    """Rows on which two scorers of these trees would differ, if they did: made of each feature's own split values.

    A column of numbers goes through each threshold, the number just below it, and missing; one of categories through
    all of them and missing. Columns are shuffled apart, always in the same way.

    Args:
        categories: for each feature how many categories it has, 0 for a number.
        count: how many rows; a column with more values than that shows `count` of them.
    """
    random = np.random.default_rng(0)
    numeric = trees.left != _LEAF
    numeric[trees.categorical] = False
    columns = []
    for feature, known in enumerate(categories):
        thresholds = np.unique(trees.value[numeric & (trees.feature == feature)])
        values = [np.arange(known, dtype=np.float32), thresholds, np.nextafter(thresholds, np.float32(-np.inf))]
        pool = np.concatenate([*values, np.full(1 + len(thresholds) // 8, np.nan, np.float32)])
        columns.append(np.resize(random.permutation(pool), count)[random.permutation(count)])
    return np.column_stack(columns).astype(np.float32)
