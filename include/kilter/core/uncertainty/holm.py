"""Many tests at once without more false alarms: Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def holm(p_values: Sequence[float], alpha: float) -> npt.NDArray[np.bool_]:
    """Which hypotheses to reject so that a true one is among them with probability `alpha` at most.

    The smallest p-value is held against `alpha / n`, the next against `alpha / (n - 1)`, until one stands;
    it and all larger ones stand. However the tests depend on each other. A NaN is never rejected, and
    counts as a test. Holm (1979), A simple sequentially rejective multiple test procedure.

    >>> holm([0.01, 0.04, 0.03, 0.005], alpha=0.05).tolist()
    [True, False, False, True]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    below = values[order] <= alpha / np.arange(len(values), 0, -1)
    rejected = np.zeros(len(values), dtype=bool)
    rejected[order] = np.logical_and.accumulate(below)
    return rejected
