"""A metric, or how much worse one model is than another, with its standard error and interval."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Measured


class Estimate(BaseModel):
    """A value with its standard error and two-sided interval at `confidence`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    error: float
    confidence: float
    blocks: int
    """Independent observations behind it."""

    def measured(self, label: str, wanted: Literal["at_least", "at_most"], bound: float) -> Measured:
        """The estimate beside a bound."""
        return Measured(
            label=label,
            value=self.value,
            low=self.low,
            high=self.high,
            confidence=self.confidence,
            wanted=wanted,
            bound=bound,
        )
