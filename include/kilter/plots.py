"""Evaluation as pictures, in PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilter.core.metrics import Evaluation
    from kilter.spec import Task

_BLUE, _GREY = "#2563eb", "#9ca3af"
_LARGEST_FEATURES = 20
_MOST_WRITTEN = 12
"""Classes up to which there is room for the rows in each cell."""


def of_task(evaluation: Evaluation, task: Task, classes: Sequence[str]) -> dict[str, bytes]:
    """The pictures that tell most of a task, by name."""
    pictures = {"importance": importance(evaluation)}
    if task == "regression":
        return pictures | {"predicted": predicted(evaluation), "residuals": residuals(evaluation)}
    pictures["calibration"] = calibration(evaluation)
    if task == "binary":
        return pictures | {"roc": roc(evaluation)}
    return pictures | {"confusion": confusion(evaluation, classes)}


def roc(evaluation: Evaluation) -> bytes:
    """The ROC curve beside the diagonal of a coin toss."""
    figure, axes = _figure("False positive rate", "True positive rate")
    if evaluation.roc:
        axes.plot(*zip(*evaluation.roc, strict=True), color=_BLUE)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
    axes.set_title(f"ROC, {evaluation.rows:,} test rows")
    return _png(figure)


def calibration(evaluation: Evaluation) -> bytes:
    """Mean score against the share of positives, by bins of equal size; of many classes that of the most probable one
    against the share of rows where it was right."""
    figure, axes = _figure("Mean score", "Share of positives" if not evaluation.confusion else "Share that was right")
    axes.plot(
        [bin.score for bin in evaluation.calibration],
        [bin.positives for bin in evaluation.calibration],
        "o-",
        color=_BLUE,
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
    axes.set_title(f"Calibration, {evaluation.rows:,} test rows")
    return _png(figure)


def confusion(evaluation: Evaluation, classes: Sequence[str]) -> bytes:
    """For each class the share of its rows by the class that was most probable; rows written into the cells."""
    import numpy as np

    figure, axes = _figure("Most probable class", "Class")
    counts = np.array(evaluation.confusion)
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1.5)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= _MOST_WRITTEN:
        for (actual, found), rows in np.ndenumerate(counts):
            axes.text(found, actual, f"{rows:,}", ha="center", va="center")
    axes.set_title(f"Confusion, {evaluation.rows:,} test rows")
    return _png(figure)


def predicted(evaluation: Evaluation) -> bytes:
    """Numbers predicted beside what came, and the line on which they would be equal."""
    figure, axes = _figure("Predicted", "Actual")
    axes.scatter(*zip(*evaluation.points, strict=True), color=_BLUE, s=6, alpha=0.4)
    scores = [score for score, _ in evaluation.points]
    ends = [min(scores), max(scores)]
    axes.plot(ends, ends, color=_GREY, linestyle="--")
    axes.set_title(f"Predicted and actual, {len(evaluation.points):,} of {evaluation.rows:,} test rows")
    return _png(figure)


def residuals(evaluation: Evaluation) -> bytes:
    """What came less what was predicted, by what was predicted."""
    figure, axes = _figure("Predicted", "Actual less predicted")
    axes.scatter(
        [score for score, _ in evaluation.points],
        [label - score for score, label in evaluation.points],
        color=_BLUE,
        s=6,
        alpha=0.4,
    )
    axes.axhline(0, color=_GREY, linestyle="--")
    axes.set_title(f"Residuals, {len(evaluation.points):,} of {evaluation.rows:,} test rows")
    return _png(figure)


def importance(evaluation: Evaluation) -> bytes:
    """Share of the total gain by feature, largest first."""
    return shares(evaluation.importance, "Share of total gain", "Feature importance")


def shares(values: Mapping[str, float], axis: str, title: str) -> bytes:
    """A bar for each name, largest first."""
    figure, axes = _figure(axis, "")
    largest = sorted(values.items(), key=lambda item: item[1])[-_LARGEST_FEATURES:]
    axes.barh([name for name, _ in largest], [share for _, share in largest], color=_BLUE)
    axes.set_title(title)
    return _png(figure)


def best_so_far(losses: Sequence[tuple[int, float]], title: str) -> bytes:
    """The loss of each trial by its number, and the least one up to it."""
    figure, axes = _figure("Trial", "Validation loss")
    numbers, values = zip(*losses, strict=True)
    axes.scatter(numbers, values, color=_GREY, s=12)
    axes.step(numbers, list(accumulate(values, min)), where="post", color=_BLUE)
    axes.set_title(title)
    return _png(figure)


def _figure(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Without the fixed metadata the version string of matplotlib would change the bytes.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
