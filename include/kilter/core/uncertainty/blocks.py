"""Blocks of rows that share their fate, each of which counts as one observation."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

LEAST_BLOCKS = 5
"""Below that, an interval says more about its method than about the model."""


def number(blocks: Blocks) -> Blocks:
    """The blocks numbered 0, 1, … without gaps.

    >>> number(np.array([7, 7, 3]))
    array([1, 1, 0])
    """
    _, numbers = np.unique(blocks, return_inverse=True)
    return numbers


def observations(labels: Vector, blocks: Blocks) -> int:
    """How many blocks hold the scarcest of the labels that there are; 0 where all labels are one.

    >>> observations(np.array([0.0, 1.0, 0.0]), np.array([7, 7, 3]))
    1
    """
    found = np.unique(labels)
    if len(found) < 2:
        return 0
    return min(len(np.unique(blocks[labels == label])) for label in found)


def blocks_of(times: npt.NDArray[np.datetime64], length: timedelta) -> npt.NDArray[np.int64]:
    """The block of event time that each row lies in, as a number; with a length of zero each row has its own.

    >>> blocks_of(np.array(["2013-01-01T05", "2013-01-01T23", "2013-01-02T00"], dtype="M8[us]"), timedelta(days=1))
    array([15706, 15706, 15707])
    """
    if not length:
        return np.arange(len(times), dtype=np.int64)
    return times.astype("datetime64[us]").astype(np.int64) // (length // timedelta(microseconds=1))
