"""Answers of a trial server: scores of the task that was asked for, or a sentence about what they are instead."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kilter.encoding import Signature
from kilter.spec import Feature
from kilter.trial import scores_of


def signature(task: str, *classes: str) -> Signature:
    return Signature.model_validate(
        {"entity": "id", "timestamp": "at", "features": (Feature(name="x"),), "task": task, "classes": classes}
    )


BINARY, NUMBER, CLASSES = signature("binary"), signature("regression"), signature("multiclass", "a", "b", "c")


@pytest.mark.parametrize(
    ("asked", "predictions"),
    [(BINARY, [0, 0.5]), (NUMBER, [-7, 1e30]), (CLASSES, [[0.25, 0.5, 0.25], [0, 1, 0]])],
)
def test_scores_of_the_task_are_taken(asked: Signature, predictions: list[Any]) -> None:
    assert scores_of({"predictions": predictions}, 2, asked).tolist() == predictions


@pytest.mark.parametrize(
    ("asked", "predictions", "told"),
    [
        (BINARY, [0.5], "got 1 of them for 2 rows"),
        (BINARY, {}, "got {} for 2 rows"),
        (BINARY, [0.5, True], "got True: True is no finite number"),
        (BINARY, [0.5, 1.5], "got 1.5: 1.5 is not in [0, 1]"),
        (BINARY, [0.5, [0.5]], "got [0.5]: [0.5] is no finite number"),
        (NUMBER, [1, None], "got None: None is no finite number"),
        (NUMBER, [1, float("inf")], "got inf: inf is no finite number"),
        (CLASSES, [[0.2, 0.2, 0.6], 0.5], "got 0.5: no list of 3 numbers, one a class"),
        (CLASSES, [[0.2, 0.2, 0.6], [0.5, 0.5]], "no list of 3 numbers, one a class"),
        (CLASSES, [[0.2, 0.2, 0.6], [0.5, 0.5, "x"]], "'x' is no finite number"),
        (CLASSES, [[0.2, 0.2, 0.6], [0.5, 1.5, -1]], "1.5 is not in [0, 1]"),
        (CLASSES, [[0.2, 0.2, 0.6], [0.5, 0.1, 0.1]], "the sum is 0.7 and not 1"),
    ],
)
def test_anything_else_is_told(asked: Signature, predictions: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        scores_of({"predictions": predictions}, 2, asked)


def test_an_answer_without_predictions_is_told() -> None:
    with pytest.raises(ValueError, match="predictions: got None for 1 rows"):
        scores_of([], 1, BINARY)
