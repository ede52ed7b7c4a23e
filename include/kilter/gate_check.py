"""What every gate check takes and gives, so that one mapped task runs them all."""

from __future__ import annotations

from kilter.core.verdict import Judgement
from kilter.step import StepModel


class Inputs(StepModel):
    """Key of the holdout that `score_holdout` made for the candidate."""

    holdout: str


class ServerInputs(Inputs):
    """Also the base URL of a server that was started with the candidate alone."""

    endpoint: str


class Outputs(StepModel):
    """The judgement."""

    judgement: Judgement
