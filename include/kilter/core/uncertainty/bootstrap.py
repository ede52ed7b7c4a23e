"""The bootstrap over blocks: what a metric would have been on other blocks of the same kind.

A block is drawn whole, so that rows of one block keep their likeness: Davison and Hinkley (1997), Bootstrap
methods and their application, section 3.8. Two models under the same seed and blocks get the same draws,
so that the difference of their replicates is paired.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Table = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

REPLICATES = 1000
"""The standard error is then known to 2 %."""

MOST_BLOCKS = 4096
"""More blocks are joined at random, which leaves the error right and knows it to 1 %."""


def join(blocks: Blocks, seed: int) -> Blocks:
    """At most `MOST_BLOCKS` blocks, by joining blocks at random: bounded memory for any number of rows.

    The method of random groups: Wolter (2007), Introduction to variance estimation, section 2.3.

    Args:
        blocks: 0, 1, … without gaps, shape (rows,).
    """
    count = int(blocks.max()) + 1
    if count <= MOST_BLOCKS:
        return blocks
    joined: Blocks = np.random.default_rng(seed).permutation(count)[blocks] % MOST_BLOCKS
    return joined


def resample(sums: Table, seed: int) -> Table:
    """Sums over blocks drawn with replacement, as many as there are.

    Args:
        sums: what each block adds, shape (blocks, columns).

    Returns:
        Shape (`REPLICATES`, columns).
    """
    count = len(sums)
    drawn = np.random.default_rng(seed).integers(count, size=(REPLICATES, count))
    drawn += np.arange(REPLICATES)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=REPLICATES * count).reshape(REPLICATES, count)
    replicates: Table = times.astype(np.float64) @ sums
    return replicates


def standard_error(replicates: Vector, blocks: int) -> float:
    """Spread of the replicates; those that have no value, such as for want of one class, are left out.

    Corrected by n / (n - 1), as the variance within n blocks is that much too small.
    """
    return float(np.nanstd(replicates, ddof=1) * np.sqrt(blocks / (blocks - 1)))
