"""A quantile with an interval that holds whatever the distribution is."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float, confidence: float) -> tuple[float, float | None, float | None]:
    """The quantile, and the ends of its interval; None and None where there are too few values for one.

    The number of values below the quantile is binomial, so two order statistics enclose it at least with
    the confidence (W. J. Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2). The quantile is the
    least value that `share` of all values do not exceed. An interval at 95 % of the 99th percentile needs 368 values.

    >>> quantile(range(1, 101), 0.5, 0.95)
    (50, 40, 61)
    >>> quantile(range(1, 101), 0.99, 0.95)
    (99, None, None)
    """
    from scipy.stats import binom

    ordered, count = sorted(values), len(values)
    value = ordered[max(1, math.ceil(share * count)) - 1]
    tail = (1 - confidence) / 2
    low, high = int(binom.ppf(tail, count, share)), int(binom.ppf(1 - tail, count, share)) + 1
    if low < 1 or high > count:
        return value, None, None
    return value, ordered[low - 1], ordered[high - 1]
