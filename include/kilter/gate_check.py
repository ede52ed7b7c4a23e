"""What every gate check takes and gives, so that one mapped task runs them all."""

from __future__ import annotations

from kilter.core.verdict import Judgement
from kilter.step import StepModel


class Inputs(StepModel):
    """The candidate's version, and the base URL of a server that was started for it."""

    version: int
    endpoint: str


class Outputs(StepModel):
    """The judgement."""

    judgement: Judgement
