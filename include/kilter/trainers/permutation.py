"""What each feature contributes to a model without splits: how much worse the model is without knowing it.

Breiman (2001), Random forests, section 10: the loss when a feature's values are handed to other rows, minus the loss as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kilter.core.summed_metrics import summed
from kilter.encoding import Matrix, Signature
from kilter.trainers import Loss, Part, Scores


def importance(
    predict: Callable[[Matrix], Scores], part: Part, loss: Loss, signature: Signature, seed: int
) -> dict[str, float]:
    """The share of each feature in all that permuting features costs; those that cost nothing are left out.

    Of features that tell the same, each has a small share: the other one tells it still.
    """
    random = np.random.default_rng(seed)
    least = summed(loss, part.labels, predict(part.rows))
    costs = {}
    for place, name in enumerate(signature.names):
        rows = part.rows.copy()
        rows[:, place] = random.permutation(rows[:, place])
        costs[name] = max(0.0, summed(loss, part.labels, predict(rows)) - least)
    total = sum(costs.values())
    return {name: round(cost / total, 6) for name, cost in costs.items() if cost > 0}
