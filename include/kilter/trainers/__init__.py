"""Trainers: one file each, found by the name that `training.trainer` gives in model.yaml.

A trainer module has a function `train` and a function `load`, as `Trainer` describes.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from kilter.encoding import Matrix, Signature
from kilter.spec import Training

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
Loss = Literal["log_loss", "rmse", "mae"]
SIGNATURE_FILE = "signature.json"


@dataclass(frozen=True)
class Part:
    """Rows to learn from: the encoded matrix (rows × features) and one label a row, as `encode_labels` makes it."""

    rows: Matrix
    labels: Vector


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

    def train(
        self,
        train: Part,
        validation: Part,
        signature: Signature,
        training: Training,
        loss: Loss,
        device: Literal["cpu", "cuda"],
        log: logging.Logger,
    ) -> Trained:
        """Fit the signature's task on `train`, stopping early by the loss of `validation`.

        Same input, seed and device: equal bytes.

        Args:
            loss: what to make small, as `kilter.core.metrics.loss_metric` chooses.
        """

    def load(self, files: Mapping[str, bytes]) -> Predictor:
        """Load what `train` returned."""


def trainer(name: str) -> Trainer:
    """The trainer module of that name."""
    module: Any = importlib.import_module(f"kilter.trainers.{name}")
    return cast(Trainer, module)
