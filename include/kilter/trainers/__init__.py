"""Trainers: one file each, found by the name that `training.trainer` gives in model.yaml.

A trainer module has a function `train` and a function `load`, as `Trainer` describes.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from kilter.encoding import Matrix, Signature
from kilter.spec import Training

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Loss = Literal["log_loss", "rmse", "mae"]
SIGNATURE_FILE = "signature.json"


class Rows(Protocol):
    """Rows to learn from, in pieces of which each fits into memory."""

    def __len__(self) -> int:
        """How many there are in all pieces."""

    def pieces(self) -> Iterator[Part]:
        """The pieces, none empty, from the first row to the last; the same ones whenever it is called."""


@dataclass(frozen=True)
class Part:
    """Rows in memory: the encoded matrix (rows × features) and one label a row, as `encode_labels` makes it."""

    rows: Matrix
    labels: Vector

    def __len__(self) -> int:
        return len(self.labels)

    def pieces(self) -> Iterator[Part]:
        """Itself, as the only piece."""
        yield self


def whole(rows: Rows) -> Part:
    """All rows in memory at once, for a trainer that takes them no other way."""
    if isinstance(rows, Part):
        return rows
    pieces = list(rows.pieces())
    return Part(np.concatenate([piece.rows for piece in pieces]), np.concatenate([piece.labels for piece in pieces]))


def _ignore(rounds: int, loss: float) -> None:
    """For trainings that nobody follows."""


@dataclass(frozen=True)
class TrainingRun:
    """What a trainer is told besides the rows.

    Args:
        training: the spec's section, of which `parameters` are the trainer's own.
        loss: what to make small, as `kilter.core.metrics.loss_metric` chooses.
        on_round: called with each round or epoch, counted from 0, and its loss of the validation part; what it raises
            ends the training.
    """

    signature: Signature
    training: Training
    loss: Loss
    device: Literal["cpu", "cuda"] = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kilter"))
    on_round: Callable[[int, float], None] = _ignore


@dataclass(frozen=True)
class Trained:
    """A trained model as files in a safe format, the rounds it kept, and how the training went."""

    files: dict[str, bytes]
    rounds: int
    losses: tuple[float, ...]
    """Of the validation part after each round made, also those after the best one."""


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, rows: Matrix) -> Scores:
        """Score rows: the probability of 1 (binary) or the number predicted (regression), shape (rows,); of many
        classes the probability of each, in the order of the signature, shape (rows, classes)."""

    def importance(self) -> dict[str, float]:
        """How much each feature contributes, summing to 1; empty for a model without splits."""


class Trainer(Protocol):
    """The shape of a trainer module."""

    def train(self, train: Rows, validation: Rows, run: TrainingRun) -> Trained:
        """Fit the signature's task on `train`, stopping early by the loss of `validation`.

        Same input, seed and device: equal bytes.
        """

    def load(self, files: Mapping[str, bytes]) -> Predictor:
        """Load what `train` returned."""


def trainer(name: str) -> Trainer:
    """The trainer module of that name."""
    module: Any = importlib.import_module(f"kilter.trainers.{name}")
    return cast(Trainer, module)
