"""Trainings of a backtest, each made once: whoever trains on the same rows, in this run or a later one, shares the model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilter.backtest.history import History
from kilter.core.metrics import loss_metric
from kilter.core.record import guess_loss, row_losses
from kilter.core.splits import split_by_time
from kilter.environment import environment_digest
from kilter.errors import DataError
from kilter.trainers import Part, TrainingRun, trainer

Scores = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A trained model and what it says of every row.

    Args:
        scores: of all rows of the history, as the model's predictor gives them.
        losses: of all rows, in units of a guess's loss, shape (rows,).
        test: places of the rows of its test part.
        rows: rows that it learned from.
        seconds: how long its training took when it was made.
    """

    windows: tuple[int, ...]
    scores: Scores
    losses: Vector
    test: npt.NDArray[np.int64]
    rows: int
    seconds: float


class Fits:
    """Trains on windows of a history, and keeps what came of it below a folder, so that a killed backtest goes on.

    Args:
        folder: where to keep it; made when missing.
    """

    def __init__(self, history: History, folder: Path) -> None:
        self.history = history
        self._folder = folder / history.digest[:16]
        self._made: dict[str, Fit] = {}

    def fit(self, windows: Sequence[int], now: int) -> Fit:
        """Train on the labels of some windows that were known at the end of window `now`.

        Train, validation and test part are cut by time as `freeze_dataset` cuts them; the latter two hold a window's rows at
        most, as in a long history the newest rows teach more than they examine.

        Raises:
            DataError: too few rows for three parts.
            InputError: the trainer refuses a parameter.
        """
        rows = self.history.rows(windows, now)
        if not len(rows):
            raise DataError(
                f"no labelled row was known in the windows {', '.join(map(str, windows))} when window {now} ended: "
                "take a longer history, or more windows a training"
            )
        key = self._key(rows)
        if key not in self._made:
            self._made[key] = self._load(key, windows) or self._train(key, windows, rows)
        return self._made[key]

    @cached_property
    def guess(self) -> float:
        """What an uninformed guess loses in a row, by the labels of the first model's windows."""
        history, spec = self.history, self.history.spec
        first = history.labels[: history.edges[history.initial]]
        return guess_loss(spec.task, spec.evaluation.primary, first, max(2, len(spec.label.classes)))

    def _key(self, rows: npt.NDArray[np.int64]) -> str:
        spec = self.history.spec
        content = {
            "training": spec.digest("task", "training", "evaluation", "features", "label"),
            "environment": environment_digest(),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode() + rows.tobytes())
        return digest.hexdigest()[:32]

    def _train(self, key: str, windows: Sequence[int], rows: npt.NDArray[np.int64]) -> Fit:
        history, spec = self.history, self.history.spec
        most = max(np.diff(history.edges)) / len(rows)
        shares = (min(spec.training.validation_share, most), min(spec.training.test_share, most))
        parts = {name: rows[cut] for name, cut in split_by_time(range(len(rows)), *shares).items()}
        train, validation = (
            Part(history.matrix[parts[name]], history.labels[parts[name]]) for name in ("train", "validation")
        )
        module = trainer(spec.training.trainer)
        loss = loss_metric(spec.task, spec.evaluation.primary)
        quiet = logging.getLogger("kilter.backtest.training")
        quiet.setLevel(logging.WARNING)
        began = time.monotonic()
        made = module.train(train, validation, TrainingRun(history.signature, spec.training, loss, log=quiet))
        seconds = time.monotonic() - began
        scores = module.load(made.files).predict(history.matrix).astype(np.float32)
        fit = self._fit(windows, scores, parts["test"], len(parts["train"]), seconds)
        self._save(key, fit)
        return fit

    def _fit(
        self, windows: Sequence[int], scores: Scores, test: npt.NDArray[np.int64], rows: int, seconds: float
    ) -> Fit:
        spec = self.history.spec
        losses = (
            row_losses(spec.task, spec.evaluation.primary, self.history.labels, scores.astype(np.float64)) / self.guess
        )
        return Fit(tuple(windows), scores, losses, test, rows, seconds)

    def _load(self, key: str, windows: Sequence[int]) -> Fit | None:
        try:
            with np.load(self._folder / f"{key}.npz", allow_pickle=False) as kept:
                return self._fit(windows, kept["scores"], kept["test"], int(kept["rows"]), float(kept["seconds"]))
        except FileNotFoundError:
            return None

    def _save(self, key: str, fit: Fit) -> None:
        """Written beside and renamed, so that a killed backtest leaves no half of a file that the next one would read."""
        self._folder.mkdir(parents=True, exist_ok=True)
        half = self._folder / f"{key}.{os.getpid()}.half"
        with half.open("wb") as file:
            np.savez_compressed(file, scores=fit.scores, test=fit.test, rows=fit.rows, seconds=fit.seconds)
        half.rename(self._folder / f"{key}.npz")
