"""A real model server with one fault, as a command: `faulty_server.py FAULT serve --role …`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np

from kilter.__main__ import main
from kilter.encoding import Matrix
from kilter.serving.models import LoadedModel

Predict = Callable[[LoadedModel, Matrix], list[float]]


def slow(predict: Predict) -> Predict:
    """50 ms more a prediction."""

    def wrapped(model: LoadedModel, rows: Matrix) -> list[float]:
        time.sleep(0.05)
        return predict(model, rows)

    return wrapped


def reordered(predict: Predict) -> Predict:
    """The first two features change places."""
    return lambda model, rows: predict(model, np.ascontiguousarray(rows[:, [1, 0, *range(2, rows.shape[1])]]))


def beyond_one(predict: Predict) -> Predict:
    """Scores that are no probabilities."""
    return lambda model, rows: [score + 1 for score in predict(model, rows)]


def too_few(predict: Predict) -> Predict:
    """One score, however many rows."""
    return lambda model, rows: predict(model, rows)[:1]


def mortal(predict: Predict) -> Predict:
    """Dies at its sixtieth prediction."""
    left = iter(range(60))
    return lambda model, rows: predict(model, rows) if next(left, None) is not None else os._exit(137)


FAULTS = {"slow": slow, "reordered": reordered, "beyond_one": beyond_one, "too_few": too_few, "mortal": mortal}

if __name__ == "__main__":
    fault, *arguments = sys.argv[1:]
    if fault != "none":
        LoadedModel.predict = FAULTS[fault](LoadedModel.predict)  # type: ignore[method-assign]
    sys.exit(main(arguments))
