"""The gate's comparison of candidate and champion, as a backtest can make it: there is no server to try it on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from kilter.backtest.fits import Fit, Fits
from kilter.core.gate import against_champion
from kilter.core.uncertainty.blocks import blocks_of
from kilter.core.uncertainty.estimate import loss
from kilter.core.verdict import Verdict
from kilter.spec import ModelSpec

Admission = Literal["promoted", "held", "rejected"]
_INCONCLUSIVE: dict[str, Admission] = {"approve": "promoted", "hold": "held", "reject": "rejected"}
"""What `gate.inconclusive` leads to."""


def admits(
    candidate: Fit, champion: Fit, fits: Fits, spec: ModelSpec, later: npt.NDArray[np.int64] | None = None
) -> Admission:
    """Compare both on the rows of the candidate's test part that the champion did not learn from, by `gate.against_champion`.

    Args:
        later: places of rows with labels that came after the training; default none.

    What is inconclusive follows `gate.inconclusive`; where a person would be asked, the candidate is held.
    """
    history = fits.history
    first = history.edges[champion.windows[-1] + 1]
    rows = np.union1d(candidate.test[candidate.test >= first], np.intersect1d(candidate.test, champion.test))
    if later is not None:
        rows = np.union1d(rows, later)
    times = history.frame[spec.timestamp].iloc[rows].to_numpy("datetime64[us]")
    lost = None
    if len(rows):
        lost = loss(
            spec.evaluation.primary,
            history.labels[rows],
            candidate.scores[rows].astype(np.float64),
            champion.scores[rows].astype(np.float64),
            blocks_of(times, spec.evaluation.block),
            spec.gate.confidence,
            spec.training.seed,
        )
    verdict = against_champion.judge(spec.evaluation.primary, lost, len(rows), 0, spec.gate.against_champion).verdict
    if verdict is Verdict.INCONCLUSIVE:
        return _INCONCLUSIVE[spec.gate.inconclusive]
    return "promoted" if verdict is Verdict.PASSED else "rejected"
