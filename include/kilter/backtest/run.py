"""Policies side by side on one history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kilter.backtest.fits import Fits
from kilter.backtest.history import History
from kilter.backtest.outcome import Outcome, outcome
from kilter.backtest.policies import Policy
from kilter.backtest.replay import replay

Progress = Callable[[str, int, int], None]
"""Called with a policy's name, the windows that it has lived through, and all of them."""


def backtest(history: History, policies: Sequence[Policy], folder: Path, progress: Progress) -> list[Outcome]:
    """Live through the history once under each policy.

    Args:
        folder: where trainings are kept; a backtest that was killed goes on there, and one with another policy trains anew
            only what it trains differently.

    Raises:
        DataError: too few rows for a training.
    """
    fits, total = Fits(history, folder), len(history.spans) - history.initial
    return [outcome(replay(policy, fits, _counted(policy.name, total, progress)), fits) for policy in policies]


def _counted(name: str, total: int, progress: Progress) -> Callable[[], None]:
    done = iter(range(1, total + 1))
    return lambda: progress(name, next(done), total)
