"""The four verdicts, and a judgement that shows its arithmetic."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """Outcome of any judgement. No data is never a pass: it is `INCONCLUSIVE`."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


_GRAVITY = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.FAILED)


class Judgement(BaseModel):
    """A verdict with its reason in words and the figures it was reached with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    verdict: Verdict
    reason: str
    figures: dict[str, Any] = Field(default_factory=dict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest verdict: failed, then error, then inconclusive, then passed.

    Nothing to judge is `INCONCLUSIVE`.

    >>> worst([Verdict.PASSED, Verdict.INCONCLUSIVE]).value
    'inconclusive'
    >>> worst([]).value
    'inconclusive'
    """
    return max(verdicts, key=_GRAVITY.index, default=Verdict.INCONCLUSIVE)
