"""Trainers: one file each, found by the name that `training.trainer` gives in model.yaml.

A trainer module has a function `train` and a function `load`, as `Trainer` describes.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from kilter.encoding import Matrix, Signature
from kilter.spec import Training
from kilter.trainers.checkpoints import Checkpoints, NoCheckpoints
from kilter.workers import Workers

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Loss = Literal["log_loss", "rmse", "mae"]
SIGNATURE_FILE = "signature.json"


class Rows(Protocol):
    """Rows to learn from, in pieces of which each fits into memory."""

    def __len__(self) -> int:
        """How many there are in all pieces."""

    @property
    def count(self) -> int:
        """How many pieces there are."""

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[Part]:
        """The pieces, none empty and the same ones whenever it is called.

        Args:
            order: their places, in the order wanted; default from the first row to the last.
        """


@dataclass(frozen=True)
class Part:
    """Rows in memory: the encoded matrix (rows × features) and one label a row, as `encode_labels` makes it."""

    rows: Matrix
    labels: Vector

    def __len__(self) -> int:
        return len(self.labels)

    count = 1

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[Part]:
        """Itself, as the only piece."""
        yield self


def whole(rows: Rows) -> Part:
    """All rows in memory at once, for a trainer that takes them no other way."""
    if isinstance(rows, Part):
        return rows
    return joined(list(rows.pieces()))


def evenly(rows: Rows, most: int) -> Part:
    """At most so many rows, one of each block of equally many: always the same one, drawn at random.

    A fixed place in the block would take one entity alone where rows alternate between entities.
    """
    block = math.ceil(len(rows) / most)
    starts = np.arange(0, len(rows), block)
    places = starts + np.random.default_rng(0).integers(np.minimum(block, len(rows) - starts))
    parts, at = [], 0
    for piece in rows.pieces():
        first, last = np.searchsorted(places, [at, at + len(piece)])
        taken = places[first:last] - at
        parts.append(Part(piece.rows[taken], piece.labels[taken]))
        at += len(piece)
    return joined(parts)


def joined(parts: Sequence[Part]) -> Part:
    """Parts one after the other."""
    return Part(np.concatenate([part.rows for part in parts]), np.concatenate([part.labels for part in parts]))


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
        checkpoints: where a training that was killed is found again; by default nowhere.
        workers: the processes that train together, each of which is given the same rows.
    """

    signature: Signature
    training: Training
    loss: Loss
    device: Literal["cpu", "cuda"] = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kilter"))
    on_round: Callable[[int, float], None] = _ignore
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    workers: Workers = field(default_factory=Workers)


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
