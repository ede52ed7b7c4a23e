"""Evaluation as pictures, in PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilter.core.metrics import Evaluation

_BLUE, _GREY = "#2563eb", "#9ca3af"
_LARGEST_FEATURES = 20


def roc(evaluation: Evaluation) -> bytes:
    """The ROC curve beside the diagonal of a coin toss."""
    figure, axes = _figure("False positive rate", "True positive rate")
    if evaluation.roc:
        axes.plot(*zip(*evaluation.roc, strict=True), color=_BLUE)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
    axes.set_title(f"ROC, {evaluation.rows:,} test rows")
    return _png(figure)


def calibration(evaluation: Evaluation) -> bytes:
    """Mean score against the share of positives, by bins of equal size."""
    figure, axes = _figure("Mean score", "Share of positives")
    axes.plot(
        [bin.score for bin in evaluation.calibration],
        [bin.positives for bin in evaluation.calibration],
        "o-",
        color=_BLUE,
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
    axes.set_title(f"Calibration, {evaluation.rows:,} test rows")
    return _png(figure)


def importance(evaluation: Evaluation) -> bytes:
    """Share of the total gain by feature, largest first."""
    figure, axes = _figure("Share of total gain", "")
    largest = sorted(evaluation.importance.items(), key=lambda item: item[1])[-_LARGEST_FEATURES:]
    axes.barh([name for name, _ in largest], [share for _, share in largest], color=_BLUE)
    axes.set_title("Feature importance")
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
