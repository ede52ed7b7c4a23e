"""A graph with a named input for each feature gives the scores of the graph with a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.unit.kilter.export.versions import graph_of
from tests.unit.kilter.parts import CLASSES, spec_of

from kilter.encoding import Matrix, Signature, encode
from kilter.errors import DataError
from kilter.export.graph import score, to_columns, with_named_inputs
from kilter.serving.predictors import of_onnx
from kilter.spec import Feature

TASKS = ("binary", "multiclass", "regression")
ROWS = np.array([[210, 0], [190, 1], [np.nan, 1], [205, np.nan], [np.nan, np.nan]], np.float32)


def named(task: str = "binary", **facts: str) -> bytes:
    spec = spec_of(task)
    return with_named_inputs(graph_of(spec), Signature.of(spec), facts)


def columns(heat: list[float], line: list[str]) -> dict[str, Any]:
    return {"heat": np.array(heat, np.float32), "line": np.array(line)}


@pytest.mark.parametrize("task", TASKS)
def test_columns_score_as_their_matrix_does_and_in_the_shape_of_the_task(task: str) -> None:
    spec = spec_of(task)
    matrix_scores = of_onnx(graph_of(spec), Signature.of(spec), "m").predict(ROWS)
    given = columns([210, 190, np.nan, 205, np.nan], ["a", "b", "b", "", ""])
    scores = score(named(task), given)
    assert scores == matrix_scores
    assert np.shape(scores) == ((5, 3) if task == "multiclass" else (5,))
    assert len(np.unique(np.array(scores), axis=0)) == 5


@pytest.mark.parametrize("text", ["", "c", "A", "a ", "ab", "NaN", "ü"])
def test_a_text_that_is_not_listed_scores_as_a_missing_one(text: str) -> None:
    (missing,) = of_onnx(graph_of(spec_of("binary")), Signature.of(spec_of("binary")), "m").predict(
        np.array([[200, np.nan]], np.float32)
    )
    assert score(named(), columns([200], [text])) == [missing]


def test_inputs_are_the_features_and_the_output_is_called_as_the_servers() -> None:
    session = onnxruntime.InferenceSession(named("multiclass", model="parts"), providers=["CPUExecutionProvider"])
    assert [(item.name, item.type, item.shape) for item in session.get_inputs()] == [
        ("heat", "tensor(float)", ["rows"]),
        ("line", "tensor(string)", ["rows"]),
    ]
    assert [(item.name, item.shape) for item in session.get_outputs()] == [("score", ["rows", 3])]
    assert session.get_modelmeta().custom_metadata_map == {
        "model": "parts",
        "classes": '["good", "rework", "scrap"]',
    }


def test_each_set_of_operators_is_named_once() -> None:
    model = onnx.load_model_from_string(named())
    assert sorted((item.domain, item.version) for item in model.opset_import) == [("", 17), ("ai.onnx.ml", 3)]


def test_equal_models_give_equal_bytes() -> None:
    assert named(model="m") == named(model="m")


def test_columns_of_different_lengths_are_refused_by_onnxruntime() -> None:
    # Joined row after row, six values would do for three rows of two features.
    with pytest.raises(Exception, match=r"Concat"):
        score(named(), columns([1, 2, 3, 4], ["a", "b"]))


def test_names_within_the_model_may_be_those_of_features_and_of_the_output() -> None:
    # The network has an edge `heat`, and gives `score`.
    spec = spec_of("binary")
    plain = graph_of(spec, score="score")
    data = with_named_inputs(plain, Signature.of(spec), {})
    assert score(data, to_columns(ROWS, Signature.of(spec))) == of_onnx(plain, Signature.of(spec), "m").predict(ROWS)


def test_a_model_without_categories_needs_none() -> None:
    numbers = Signature(entity="e", timestamp="t", features=(Feature(name="x"), Feature(name="y")))
    data = with_named_inputs(graph_of(spec_of("binary")), numbers, {})
    given = {"x": np.array([210], np.float32), "y": np.array([1], np.float32)}
    assert score(data, given) == of_onnx(graph_of(spec_of("binary")), numbers, "m").predict(
        np.array([[210, 1]], np.float32)
    )


def test_an_empty_text_among_the_categories_is_refused_since_it_means_missing() -> None:
    odd = Feature(name="line", kind="categorical", categories=("", "b"))
    signature = Signature(entity="e", timestamp="t", features=(Feature(name="heat"), odd))
    with pytest.raises(DataError, match="feature 'line' lists '' as a category, which means missing"):
        with_named_inputs(graph_of(spec_of("binary")), signature, {})


def test_a_graph_that_takes_other_features_is_refused() -> None:
    spec = spec_of("binary")
    with pytest.raises(DataError, match="no inputs by name can be put before this model's graph"):
        with_named_inputs(graph_of(spec, width=3), Signature.of(spec), {})


def test_columns_of_a_matrix_are_encoded_to_the_same_matrix() -> None:
    signature = Signature.of(spec_of("multiclass"))
    assert signature.classes == CLASSES
    matrix: Matrix = np.tile(ROWS, (3, 1))
    found = to_columns(matrix, signature)
    np.testing.assert_array_equal(encode(found, signature), matrix)
    assert set(found["line"]) == {"a", "b", "", "not a or b"}
