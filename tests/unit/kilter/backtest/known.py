"""Histories whose models are known without training: each is right about the regimes that it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kilter.backtest.fits import Fit, Fits
from kilter.backtest.history import History
from kilter.backtest.stream import read_stream

ROWS = 200
"""Rows of a window."""
RIGHT, WRONG = 0.9, 0.4
"""Shares of right answers in a regime that a model knows, and in another."""


def history_of(windows: int, folder: Path) -> History:
    """Two classes in equal shares, that nothing tells apart."""
    random = np.random.default_rng(2)
    rows = windows * ROWS
    stream = pd.DataFrame({"number": random.normal(size=rows), "y": random.permutation(rows) % 2, "t": np.arange(rows)})
    stream.to_parquet(folder / "known.parquet")
    return read_stream(folder / "known.parquet", "y", "t", windows=windows)


class KnownFits(Fits):
    """Models of a history whose windows belong to regimes, such as `AABBA`.

    A model knows the regime of its newest window, and those that make up a third of its windows. It answers 9 of 10 rows of a
    regime that it knows rightly, and 4 of 10 of others, whichever model it is: those rows are the same for all.
    """

    def __init__(self, regimes: str, folder: Path) -> None:
        super().__init__(history_of(len(regimes), folder), folder / "fits")
        self.regimes = regimes
        self.trained: list[tuple[int, ...]] = []

    def fit(self, windows: Sequence[int], now: int) -> Fit:
        learned = [self.regimes[place] for place in windows]
        known = {learned[-1], *(regime for regime in learned if 3 * learned.count(regime) >= len(learned))}
        share = np.repeat([RIGHT if regime in known else WRONG for regime in self.regimes], ROWS)
        right = np.random.default_rng(3).random(len(share)) < share
        rows = self.history.rows(windows, now)
        self.trained.append(tuple(windows))
        scores = np.where(right, self.history.labels, 1 - self.history.labels).astype(np.float32)
        return self._fit(windows, scores, rows[-ROWS:].astype(np.int64), len(rows), 1.0)


def losses_of(fit: Fit, history: History, window: int) -> npt.NDArray[np.float64]:
    return fit.losses[history.window(window)]
