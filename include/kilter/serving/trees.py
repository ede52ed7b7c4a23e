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
_MODES = ["LEAF", "BRANCH_LT", "BRANCH_EQ"]
_IS_LEAF, _IS_NUMERIC, _IS_CATEGORICAL = range(3)


@dataclass(frozen=True)
class Trees:
    """All nodes of a model's trees, one after the other; children and categories are places in these arrays.

    Args:
        features: how many features the model takes.
        margin: what the leaves are added to, in log odds.
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
    margin: float
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
            DataError: it is not boosted trees for one probability, or not as that schema has it.
        """
        try:
            learner = document["learner"]
            kinds = learner["objective"]["name"], learner["gradient_booster"]["name"]
            if kinds != ("binary:logistic", "gbtree"):
                raise DataError(f"{kinds[0]} by {kinds[1]} is not binary:logistic by gbtree")
            parameters = learner["learner_model_param"]
            trees = learner["gradient_booster"]["model"]["trees"]
            return cls(int(parameters["num_feature"]), _margin(parameters["base_score"]), **_arrays(trees))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not XGBoost's schema: {error!r}") from None


def _margin(base_score: str) -> float:
    probability = float(base_score.strip("[]"))
    return math.log(probability / (1 - probability))


def _arrays(trees: list[dict[str, Any]]) -> dict[str, Any]:
    if not trees:
        raise DataError("no trees")

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
    """The graph, from rows × features to the probability of the positive class.

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
        "target_ids": np.zeros(len(leaves), np.int64),
        # Onto the first tree and not at the end, so that all is added in XGBoost's order and rounded alike.
        "target_weights": trees.value[leaves]
        + np.where(trees.tree[leaves] == 0, np.float32(trees.margin), np.float32(0)),
        "n_targets": 1,
    }
    operators = [
        onnx_file.node("TreeEnsembleRegressor", "rows", "margins", "ai.onnx.ml", ensemble),
        onnx_file.node("Sigmoid", "margins", "scores", "", {}),
    ]
    return onnx_file.model(operators, trees.features)


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
