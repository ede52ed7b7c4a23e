"""The four verdicts, a number beside its bound, and a judgement that shows its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """Outcome of any judgement. No data is never a pass: it is `INCONCLUSIVE`."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


_GRAVITY = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.FAILED)


class Measured(BaseModel):
    """A number, its interval where it has one, and the bound that it must keep.

    >>> known = Measured(label="roc_auc", value=0.74, low=0.72, high=0.76, confidence=0.95, wanted="at_least", bound=0.7)
    >>> known.verdict.value, known.sentence
    ('passed', 'roc_auc 0.74 (95 %: 0.72 … 0.76) >= 0.7')
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    """Of the interval `low` … `high`, two-sided; None without an interval."""
    wanted: Literal["at_least", "at_most"]
    bound: float
    strict: bool = False
    """Whether the bound itself breaks it."""
    unit: str = ""

    @property
    def verdict(self) -> Verdict:
        """Passed or failed when the whole interval lies on one side of the bound, else inconclusive.

        The bound itself keeps it, unless it is strict. What is not a number is an error.
        """
        low, high = self._interval
        if any(math.isnan(number) for number in (self.value, low, high, self.bound)):
            return Verdict.ERROR
        good, bad = (low, high) if self.wanted == "at_least" else (-high, -low)
        bound = self.bound if self.wanted == "at_least" else -self.bound
        if good > bound or (good == bound and not self.strict):
            return Verdict.PASSED
        return Verdict.FAILED if bad < bound or (bad == bound and self.strict) else Verdict.INCONCLUSIVE

    @property
    def sentence(self) -> str:
        """The comparison in words and figures."""
        kept, broken = (">=", "<") if self.wanted == "at_least" else ("<=", ">")
        if self.strict:
            kept, broken = kept[0], f"{broken}="
        relation = {
            Verdict.PASSED: kept,
            Verdict.FAILED: broken,
            Verdict.INCONCLUSIVE: f"not surely {kept}",
            Verdict.ERROR: "cannot be compared with",
        }[self.verdict]
        return f"{self.label} {self.value:.4g}{self.unit}{self._interval_text} {relation} {self.bound:.4g}{self.unit}"

    @property
    def _interval(self) -> tuple[float, float]:
        return (self.value if self.low is None else self.low), (self.value if self.high is None else self.high)

    @property
    def _interval_text(self) -> str:
        if self.low is None or self.high is None or self.confidence is None:
            return ""
        return f" ({self.confidence * 100:g} %: {self.low:.4g} … {self.high:.4g})"


class Judgement(BaseModel):
    """A verdict with its reason in words and the figures it was reached with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    verdict: Verdict
    reason: str
    measured: tuple[Measured, ...] = ()
    """The numbers that decided, for tables and plots."""
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


def judge_measured(
    name: str, measured: Sequence[Measured], figures: dict[str, Any] | None = None, unknown: Sequence[str] = ()
) -> Judgement:
    """The gravest verdict of several numbers, the gravest of them told first; none at all is inconclusive.

    Args:
        unknown: in words, what could not be measured for want of data; inconclusive, too.
    """
    told = sorted(measured, key=lambda item: _GRAVITY.index(item.verdict), reverse=True)
    verdicts = [item.verdict for item in measured] + [Verdict.INCONCLUSIVE] * len(unknown)
    return Judgement(
        name=name,
        verdict=worst(verdicts),
        reason="; ".join([*unknown, *(item.sentence for item in told)]) or "nothing was measured",
        measured=tuple(told),
        figures=figures or {},
    )
