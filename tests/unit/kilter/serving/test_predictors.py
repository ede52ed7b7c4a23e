"""What computes the scores: a graph that agrees with XGBoost, or XGBoost itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError
from kilter.serving import onnx_file, predictors, ubjson
from kilter.serving.models import load
from kilter.serving.predictors import FEW_ROWS, TOLERANCE, of_booster, of_onnx
from kilter.serving.trees import Trees, to_onnx, trying_rows
from kilter.spec import Feature
from kilter.stores.deployment import Deployment
from kilter.stores.objects import FileObjects, commit_dataset

CATEGORIES = (0, 3, 16, 70, 0, 0)
"""Of each feature; 0 for a number."""
SIGNATURE = Signature(
    entity="id",
    timestamp="at",
    features=tuple(
        Feature(name=f"f{place}", kind="categorical", categories=tuple(f"c{code}" for code in range(count)))
        if count
        else Feature(name=f"f{place}")
        for place, count in enumerate(CATEGORIES)
    ),
)


def rows(count: int, seed: int = 0) -> Matrix:
    random = np.random.default_rng(seed)
    made = random.normal(size=(count, len(CATEGORIES))).astype(np.float32)
    for place, categories in enumerate(CATEGORIES):
        if categories:
            made[:, place] = random.integers(0, categories, count)
    made[random.random(made.shape) < 0.15] = np.nan
    return made


CLASSES = Signature.model_validate(SIGNATURE.model_dump() | {"task": "multiclass", "classes": ("low", "mid", "high")})
NUMBER = Signature.model_validate(SIGNATURE.model_dump() | {"task": "regression"})
SOFTPROB: dict[str, Any] = {"objective": "multi:softprob", "num_class": 3}


def train(rounds: int = 30, signature: Signature = SIGNATURE, **parameters: Any) -> xgboost.Booster:
    data, random = rows(3000), np.random.default_rng(1)
    known = np.nan_to_num(data)
    odds = known[:, 0] + known[:, 2] % 3 + known[:, 3] % 5 - known[:, 4] * known[:, 1] - 2
    labels: dict[str, Any] = {
        "binary": random.random(len(data)) < 1 / (1 + np.exp(-odds)),
        "multiclass": np.digitize(odds + random.normal(size=len(data)), [-1, 1]),
        "regression": 1000 + 100 * odds,
    }
    matrix = xgboost.DMatrix(
        data, label=labels[signature.task], feature_types=signature.feature_types, enable_categorical=True
    )
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, **parameters}, matrix, rounds)


def saved(booster: xgboost.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def own_scores(booster: xgboost.Booster, matrix: Matrix) -> Any:
    return booster.inplace_predict(matrix, missing=np.nan, validate_features=False)


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_depth": 6},
        {"max_depth": 1},
        {"max_depth": 4, "max_cat_to_onehot": 100},
        {"max_depth": 6, "gamma": 3.0},
        {"max_depth": 4, "num_parallel_tree": 3, "subsample": 0.5},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 40},
        {"max_depth": 3, "base_score": 0.2},
    ],
)
def test_a_graph_scores_as_the_trees_do(parameters: dict[str, Any]) -> None:
    booster = train(**parameters)
    predictor = of_booster(saved(booster), SIGNATURE, "m")
    assert predictor.name == "onnxruntime"
    matrix = rows(2000, seed=7)
    few = [score for start in range(0, len(matrix), FEW_ROWS) for score in predictor.predict(matrix[start:][:FEW_ROWS])]
    np.testing.assert_allclose(few, own_scores(booster, matrix), rtol=0, atol=TOLERANCE)
    assert predictor.predict(matrix) == own_scores(booster, matrix).tolist()


@pytest.mark.parametrize(
    ("signature", "parameters", "tolerance"),
    [
        (CLASSES, SOFTPROB, TOLERANCE),
        (CLASSES, {**SOFTPROB, "num_parallel_tree": 2, "subsample": 0.5}, TOLERANCE),
        (CLASSES, {**SOFTPROB, "base_score": 0.5}, TOLERANCE),
        (NUMBER, {"objective": "reg:squarederror"}, 2e-3),
        (NUMBER, {"objective": "reg:absoluteerror"}, 2e-3),
    ],
)
def test_classes_and_numbers_are_scored_as_the_trees_do(
    signature: Signature, parameters: dict[str, Any], tolerance: float
) -> None:
    booster = train(signature=signature, max_depth=4, **parameters)
    predictor = of_booster(saved(booster), signature, "m")
    assert predictor.name == "onnxruntime"
    matrix = rows(600, seed=7)
    matrix[0] = np.nan
    few = [score for start in range(0, len(matrix), FEW_ROWS) for score in predictor.predict(matrix[start:][:FEW_ROWS])]
    expected = own_scores(booster, matrix)
    assert np.shape(few) == expected.shape
    np.testing.assert_allclose(few, expected, rtol=0, atol=tolerance)
    assert predictor.predict(matrix) == expected.tolist()


def test_a_regression_may_differ_by_a_share_of_its_scores_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    booster = train(signature=NUMBER, objective="reg:squarederror")
    for by, name in ((1e-4, "onnxruntime"), (1e-1, "xgboost, since no graph: its scores differ")):

        def moved(trees: Trees, by: float = by) -> bytes:
            return to_onnx(replace(trees, margins=trees.margins + np.float32(by)))

        monkeypatch.setattr(predictors, "to_onnx", moved)
        assert of_booster(saved(booster), NUMBER, "m").name.startswith(name)


def test_trees_with_a_leaf_for_all_classes_are_scored_by_xgboost() -> None:
    # XGBoost makes no such trees of categories yet.
    features = [{"name": name} for name in "abcdef"]
    numbers = Signature.model_validate(CLASSES.model_dump() | {"features": features})
    booster = train(rounds=3, signature=numbers, multi_strategy="multi_output_tree", **SOFTPROB)
    predictor = of_booster(saved(booster), numbers, "m")
    assert (
        predictor.name == "xgboost, since no graph: no trees, or none for some class, or one for all classes together"
    )
    assert predictor.predict(rows(3)) == own_scores(booster, rows(3)).tolist()


@pytest.mark.parametrize(
    ("trained", "parameters", "served", "wanted"),
    [
        (NUMBER, {"objective": "reg:squarederror"}, SIGNATURE, "expected two probabilities, for the .* is binary"),
        (CLASSES, SOFTPROB, SIGNATURE, "expected two probabilities"),
        (CLASSES, SOFTPROB, NUMBER, "expected two finite numbers"),
        (CLASSES, {**SOFTPROB, "objective": "multi:softmax"}, CLASSES, "expected twice 3 probabilities that sum to 1"),
        (SIGNATURE, {}, CLASSES, "expected twice 3 probabilities that sum to 1"),
    ],
)
def test_a_booster_of_another_task_is_refused(
    trained: Signature, parameters: dict[str, Any], served: Signature, wanted: str
) -> None:
    booster = train(rounds=2, signature=trained, **parameters)
    with pytest.raises(DataError, match=wanted):
        of_booster(saved(booster), served, "m")


def test_every_category_and_an_unknown_one_score_as_the_trees_do() -> None:
    booster = train(max_depth=6)
    predictor = of_booster(saved(booster), SIGNATURE, "m")
    for place, categories in enumerate(CATEGORIES):
        for code in (*range(categories), np.nan):
            matrix = rows(1, seed=place)
            matrix[0, place] = code
            assert predictor.predict(matrix)[0] == pytest.approx(own_scores(booster, matrix)[0], abs=TOLERANCE)


def test_a_tree_that_is_one_leaf_is_a_graph() -> None:
    booster = train(rounds=2, gamma=1e9)
    predictor = of_booster(saved(booster), SIGNATURE, "m")
    assert predictor.name == "onnxruntime"
    assert predictor.predict(rows(1)) == pytest.approx(own_scores(booster, rows(1)).tolist(), abs=TOLERANCE)


def test_other_boosters_and_objectives_are_scored_by_xgboost_and_say_so() -> None:
    known = "binary:logistic, multi:softprob, reg:squarederror, reg:absoluteerror by gbtree"
    for parameters, signature, kind in (
        ({"booster": "dart"}, SIGNATURE, "binary:logistic by dart"),
        ({"objective": "reg:tweedie"}, NUMBER, "reg:tweedie by gbtree"),
    ):
        booster = train(rounds=3, signature=signature, **parameters)
        predictor = of_booster(saved(booster), signature, "m")
        assert predictor.name == f"xgboost, since no graph: {kind} is none of {known}"
        assert predictor.predict(rows(3)) == own_scores(booster, rows(3)).tolist()


def test_a_graph_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(trees: Trees) -> bytes:
        trees.value[0] += np.float32(0.5)
        trees.missing_left[:] = ~trees.missing_left
        return to_onnx(trees)

    monkeypatch.setattr(predictors, "to_onnx", wrong)
    booster = train()
    predictor = of_booster(saved(booster), SIGNATURE, "m")
    assert predictor.name.startswith("xgboost, since no graph: its scores differ from the model's by up to 0.")
    assert predictor.predict(rows(1)) == own_scores(booster, rows(1)).tolist()


def test_a_category_that_the_signature_calls_a_number_is_left_to_xgboost() -> None:
    numbers = Signature(entity="id", timestamp="at", features=tuple(Feature(name=name) for name in "abcdef"))
    predictor = of_booster(saved(train()), numbers, "m")
    assert "it splits b by category, which is a number in the signature" in predictor.name


def test_the_rows_that_are_tried_go_through_each_split_value_category_and_missing() -> None:
    trees = Trees.of(ubjson.read(saved(train())))
    tried = trying_rows(trees, list(CATEGORIES), 2048)
    numeric = (trees.left >= 0) & (trees.feature == 0)
    assert set(trees.value[numeric]) <= set(tried[:, 0])
    assert set(np.nextafter(trees.value[numeric], np.float32(-np.inf))) <= set(tried[:, 0])
    assert set(range(16)) <= set(tried[:, 2])
    assert np.isnan(tried).any(axis=0).all()


def test_ubjson_is_read_as_xgboost_reads_it() -> None:
    booster = train(rounds=3)
    expected = json.loads(booster.save_raw("json"))
    read, wanted = (
        document["learner"]["gradient_booster"]["model"]["trees"][1]
        for document in (ubjson.read(saved(booster)), expected)
    )
    for name in ("left_children", "default_left", "categories", "split_indices"):
        assert read[name].tolist() == wanted[name]
    np.testing.assert_array_equal(read["split_conditions"], np.array(wanted["split_conditions"], np.float32))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{L", b'{"a":1}', b"\x80\x04pickle", b"[" * 100_000, b"[$Z#i\1", b"Si\xff"]
)
def test_what_is_no_ubjson_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="no XGBoost model in UBJSON"):
        of_booster(data, SIGNATURE, "m")


def test_a_booster_of_other_features_is_refused() -> None:
    fewer = Signature(entity="id", timestamp="at", features=SIGNATURE.features[:3])
    with pytest.raises(DataError, match="takes 6 features and its signature has 3"):
        of_booster(saved(train(rounds=1)), fewer, "m")


def test_an_onnx_file_is_served(tmp_path: Path) -> None:
    booster = train(rounds=2)
    data = to_onnx(Trees.of(ubjson.read(saved(booster))))
    loaded = load(*committed(tmp_path, {"model.onnx": data}))
    assert loaded.predictor == "onnxruntime"
    assert loaded.predict(rows(50)) == pytest.approx(own_scores(booster, rows(50)).tolist(), abs=TOLERANCE)


def test_a_signature_of_before_there_were_tasks_is_served_as_binary(tmp_path: Path) -> None:
    booster = train(rounds=2)
    old = SIGNATURE.model_dump_json(exclude={"task", "classes"}).encode()
    objects = FileObjects(tmp_path)
    made = commit_dataset(objects, "models/m", {"model.ubj": saved(booster), "signature.json": old})
    loaded = load(objects, Deployment(model="m", version=1, key=made.key, digest=made.digest))
    assert loaded.signature == SIGNATURE
    assert loaded.predict(rows(50)) == own_scores(booster, rows(50)).tolist()


def test_a_server_loads_trees_without_the_package_that_imports_pandas(tmp_path: Path) -> None:
    model, signature = tmp_path / "model.ubj", tmp_path / "signature.json"
    model.write_bytes(saved(train(rounds=2)))
    signature.write_text(SIGNATURE.model_dump_json())
    script = (
        "import sys, pathlib; from kilter.encoding import Signature; from kilter.serving.predictors import of_booster\n"
        "model, signature = map(pathlib.Path, sys.argv[1:])\n"
        "of_booster(model.read_bytes(), Signature.model_validate_json(signature.read_text()), 'm')\n"
        "print(sorted({'xgboost', 'pandas', 'sklearn'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script, str(model), str(signature)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def committed(home: Any, files: dict[str, bytes]) -> tuple[FileObjects, Deployment]:
    objects = FileObjects(home)
    files = {**files, "signature.json": SIGNATURE.model_dump_json().encode()}
    made = commit_dataset(objects, "models/m", files)
    return objects, Deployment(model="m", version=1, key=made.key, digest=made.digest)


def test_a_model_in_both_formats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds model\.ubj and model\.onnx: commit the model as one of them"):
        load(*committed(tmp_path, {"model.onnx": b"", "model.ubj": b""}))


def graph(operator: str, features: int = len(CATEGORIES), width: int = 1, **attributes: Any) -> bytes:
    """An ONNX file of one operator."""
    return onnx_file.model([onnx_file.node(operator, "rows", "scores", "", attributes)], features, width)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no ONNX model"),
        (b"\x80\x04pickle", "no ONNX model"),
        (b'{"learner": {}}', "no ONNX model"),
        (graph("Unknown"), "no ONNX model"),
        (graph("Sigmoid", 5), "takes 5 features and its signature has 6"),
        (graph("Sigmoid"), "expected two probabilities"),
        (graph("ReduceMax", axes=np.array([1])), "expected two probabilities"),
    ],
)
def test_an_onnx_file_that_cannot_answer_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        of_onnx(data, SIGNATURE, "m")


def test_an_onnx_file_of_classes_gives_a_probability_for_each(tmp_path: Path) -> None:
    booster = train(rounds=2, signature=CLASSES, **SOFTPROB)
    data = to_onnx(Trees.of(ubjson.read(saved(booster))))
    scores = of_onnx(data, CLASSES, "m").predict(rows(20))
    np.testing.assert_allclose(scores, own_scores(booster, rows(20)), rtol=0, atol=TOLERANCE)
    for signature in (SIGNATURE, NUMBER):
        with pytest.raises(DataError, match="expected two"):
            of_onnx(data, signature, "m")
