"""What came of a policy: quality over time, trainings, returns, false alarms, and rows that a worse model answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kilter.backtest.fits import Fit, Fits
from kilter.backtest.replay import Replayed, Step
from kilter.core.decay import LEAST_DECAY
from kilter.core.metrics import measure
from kilter.core.record import mean

_AFTERWARDS = 4
"""Windows after an act by which it is told whether it was a false alarm."""


@dataclass(frozen=True)
class Outcome:
    """A policy's figures over all windows after the first model's.

    Args:
        quality: the primary metric; of means over rows that of all rows, else the windows' mean weighted by rows.
        windows: the primary metric of each window; NaN where it cannot be told.
        trainings: models trained, the first one counted.
        retrainings: trainings that a decision led to.
        promotions: how many of those became champion.
        returns: earlier models brought back.
        false_alarms: models that became champion and lost no less than the one they replaced, over the next four windows.
        blind_rows: rows answered by a model surely worse than the best that the policy had, by more than 0.04 of a guess's loss.
        rows_fitted: rows that all trainings learned from.
        seconds: of all trainings, as measured when each was made.
    """

    policy: str
    quality: float
    windows: list[float]
    trainings: int
    retrainings: int
    promotions: int
    returns: int
    false_alarms: int
    blind_rows: int
    rows: int
    rows_fitted: int
    seconds: float
    steps: list[dict[str, Any]]


def outcome(run: Replayed, fits: Fits) -> Outcome:
    """Measure a history that was lived through."""
    history = fits.history
    primary = history.spec.evaluation.primary
    sizes = [history.edges[step.window + 1] - history.edges[step.window] for step in run.steps]
    windows = [_quality(primary, fits, run.fits[step.version], step.window) for step in run.steps]
    told = [(value, size) for value, size in zip(windows, sizes, strict=True) if np.isfinite(value)]
    acts = [step for step in run.steps if step.outcome in ("promoted", "returned")]
    return Outcome(
        policy=run.policy.name,
        quality=float(np.average([value for value, _ in told], weights=[size for _, size in told]))
        if told
        else float("nan"),
        windows=windows,
        trainings=len(run.fits),
        retrainings=len(run.fits) - 1,
        promotions=sum(step.outcome == "promoted" for step in run.steps),
        returns=sum(step.outcome == "returned" for step in run.steps),
        false_alarms=sum(_in_vain(step, run, fits) for step in acts),
        blind_rows=sum(size for step, size in zip(run.steps, sizes, strict=True) if _blind(step, run, fits)),
        rows=sum(sizes),
        rows_fitted=sum(fit.rows for fit in run.fits.values()),
        seconds=sum(fit.seconds for fit in run.fits.values()),
        steps=[asdict(step) | {"name": history.names[step.window]} for step in run.steps],
    )


def _quality(primary: str, fits: Fits, fit: Fit, window: int) -> float:
    rows = fits.history.window(window)
    if primary == "accuracy":  # of one class, too, by which rankings cannot be measured
        return float(1 - fit.losses[rows].mean() * fits.guess)
    return measure([primary], fits.history.labels[rows], fit.scores[rows].astype(np.float64)).get(primary, float("nan"))


def _in_vain(step: Step, run: Replayed, fits: Fits) -> bool:
    """Whether the model that took over lost no less than the one before on the next windows."""
    last = min(step.window + _AFTERWARDS, len(fits.history.spans) - 1)
    if step.made is None or last <= step.window:
        return False
    rows = slice(fits.history.edges[step.window + 1], fits.history.edges[last + 1])
    return bool(run.fits[step.made].losses[rows].mean() >= run.fits[step.version].losses[rows].mean())


def _blind(step: Step, run: Replayed, fits: Fits) -> bool:
    rows = fits.history.window(step.window)
    made = {1} | {item.made for item in run.steps if item.made is not None and item.window < step.window}
    best = min((run.fits[version] for version in made), key=lambda fit: float(fit.losses[rows].mean()))
    lost = mean(run.fits[step.version].losses[rows] - best.losses[rows])
    return lost.value > max(LEAST_DECAY, 2 * lost.error)
