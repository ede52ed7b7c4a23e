"""The naive forecast from the past: what happened last, as far as it was known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kilter.core.sanity.prior import Prior, guesses

Scores = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


def last_values(times: Times, past_times: Times, past_labels: Scores, past_known: Times, prior: Prior) -> Scores:
    """For each row the label of the newest past row whose label was known before the row's event time.

    Hyndman and Athanasopoulos (2021), Forecasting: principles and practice, section 5.2, the naive method.

    Args:
        times: event times of the rows, shape (rows,).
        past_times, past_labels, past_known: event time, label and when the label was known, shape (past,), in
            any order. Of equal event times the one given last counts as the newest. A row may be among its
            own past: it never knows itself.
            Of many classes a label is a row of shape (classes,): 1 at its own place, 0 at all others.
        prior: for rows before which no label was known.

    Returns:
        Shape (rows,), of many classes (rows, classes).

    >>> day = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[D]")
    >>> last_values(day, day, np.array([1.0, 0.0, 1.0]), day + 1, prior=0.4).tolist()
    [0.4, 0.4, 1.0]
    """
    if not len(past_times):
        return guesses(prior, len(times))
    newest_last = np.argsort(past_times, kind="stable")
    place = np.empty(len(past_times), dtype=np.int64)
    place[newest_last] = np.arange(len(past_times))
    by_known = np.argsort(past_known, kind="stable")
    newest_so_far = np.maximum.accumulate(place[by_known])
    known = np.searchsorted(past_known[by_known], times, side="left")
    labels = past_labels[newest_last][newest_so_far[np.maximum(known - 1, 0)]]
    found: Scores = np.where((known > 0).reshape(-1, *(1 for _ in np.shape(prior))), labels, prior)
    return found
