"""Rows in another order each epoch: all of them where they fit into memory, else within windows of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kilter.trainers import Part, Rows, joined, whole

MOST_BYTES = 128 * 1024 * 1024
"""So many of the encoded rows are held in memory, and up to twice as many more while they are mixed."""


def held(rows: Rows, features: int) -> Rows:
    """The rows in memory where they fit, else as they are."""
    return whole(rows) if len(rows) <= most_rows(features) else rows


def most_rows(features: int) -> int:
    """Rows that are held at once: float32 features and a float64 label each."""
    return max(1, MOST_BYTES // (4 * features + 8))


def shuffled(rows: Rows, batch_rows: int, most: int, random: np.random.Generator) -> Iterator[Part]:
    """Windows of `most` rows or a piece more, in random order, each a multiple of `batch_rows` except the last.

    Pieces come in random order and are mixed within a window, so that a window holds rows of all times.
    """
    waiting: list[Part] = []
    for piece in rows.pieces(random.permutation(rows.count).tolist()):
        waiting.append(piece)
        if sum(map(len, waiting)) >= max(most, batch_rows):
            window = _mixed(waiting, random)
            cut = len(window) - len(window) % batch_rows
            yield _slice(window, 0, cut)
            waiting = [_slice(window, cut, len(window))]
    if sum(map(len, waiting)):
        yield _mixed(waiting, random)


def _mixed(parts: list[Part], random: np.random.Generator) -> Part:
    window = joined(parts)
    order = random.permutation(len(window))
    return Part(window.rows[order], window.labels[order])


def _slice(part: Part, start: int, stop: int) -> Part:
    return Part(part.rows[start:stop], part.labels[start:stop])
