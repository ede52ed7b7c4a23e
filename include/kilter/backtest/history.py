"""Recorded history: labelled rows in the order of event time, cut into windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kilter.encoding import Matrix, Signature, encode_labels
from kilter.errors import DataError
from kilter.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

Vector = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class History:
    """What happened, as far as it is known today.

    Args:
        spec: of the model whose history it is.
        frame: features and label, one row an event, in the order of event time.
        edges: the first row of each window, and one past the last row; rising.
        spans: each window's stretch of event time.
        names: what people call each window.
        known_at: when each row's label was known, shape (rows,); UTC without a zone.
        initial: windows that the first model learns from.
    """

    spec: ModelSpec
    frame: pd.DataFrame
    edges: Sequence[int]
    spans: Sequence[tuple[datetime, datetime]]
    names: Sequence[str]
    known_at: Times
    initial: int

    def __post_init__(self) -> None:
        if len(self.spans) < self.initial + 2:
            raise DataError(
                f"model '{self.spec.name}': {len(self.spans)} windows of history, and a backtest needs {self.initial} to train "
                "the first model on and two more: ingest more intervals, or take a longer stretch of time"
            )

    @cached_property
    def signature(self) -> Signature:
        return Signature.of(self.spec)

    @cached_property
    def matrix(self) -> Matrix:
        """All rows as models take them."""
        from kilter.stores.models import encode_frame

        return encode_frame(self.frame, self.signature)

    @cached_property
    def labels(self) -> Vector:
        """All labels as trainers take them: 0 or 1, a class's place, or a number."""
        return encode_labels(self.frame[self.spec.label.column], self.signature.classes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of rows, labels and windows."""
        digest = hashlib.sha256()
        for part in (self.matrix, self.labels, self.known_at, np.asarray(self.edges)):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def window(self, place: int) -> slice:
        """The rows of one window."""
        return slice(self.edges[place], self.edges[place + 1])

    def known(self, place: int, now: int) -> npt.NDArray[np.bool_]:
        """Which rows of a window have a label that was known at the end of window `now`."""
        end = np.datetime64(self.spans[now][1].replace(tzinfo=None), "us")
        found: npt.NDArray[np.bool_] = self.known_at[self.window(place)] <= end
        return found

    def rows(self, windows: Sequence[int], now: int) -> npt.NDArray[np.int64]:
        """Places of the rows of some windows whose labels were known at the end of window `now`."""
        parts = [self.edges[place] + np.flatnonzero(self.known(place, now)) for place in windows]
        return np.concatenate(parts).astype(np.int64)
