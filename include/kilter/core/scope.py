"""What a retraining learns from: all history, its newest stretch, or the stretches of one regime."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

Kind = Literal["all", "recent", "regime"]


class Scope(BaseModel):
    """The rows to train on, by event time: those in one of `spans`, each from its start until before its end.

    `all` has no spans: everything known, as far back as `training.window` reaches. The others have one or more, which
    may reach further back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "all"
    spans: tuple[tuple[datetime, datetime], ...] = ()
    reason: str = "nothing speaks against any of it"

    @model_validator(mode="after")
    def _spans_as_the_kind_wants(self) -> Scope:
        if (self.kind == "all") != (not self.spans):
            raise ValueError(
                f"scope {self.kind} with {len(self.spans)} spans: 'all' has none, 'recent' and 'regime' have one or more"
            )
        for start, end in self.spans:
            if start.tzinfo is None or end.tzinfo is None:
                raise ValueError(f"span {start.isoformat()} … {end.isoformat()}: give both times with their offset")
            if start >= end:
                raise ValueError(f"span {start.isoformat()} … {end.isoformat()} ends before it begins: swap them")
        return self

    @property
    def start(self) -> datetime | None:
        """Where the first span begins; None of `all`."""
        return min((start for start, _ in self.spans), default=None)

    def holds(self, times: Sequence[datetime]) -> list[bool]:
        """Whether each event time is in the scope."""
        return [not self.spans or any(start <= time < end for start, end in self.spans) for time in times]

    def __str__(self) -> str:
        """In words.

        >>> from datetime import UTC
        >>> str(Scope()), str(Scope(kind="recent", spans=((datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)),)))
        ('all', 'recent: 2013-03-01 00:00 … 2013-04-01 00:00')
        """
        spans = ", ".join(f"{start:%Y-%m-%d %H:%M} … {end:%Y-%m-%d %H:%M}" for start, end in self.spans)
        return f"{self.kind}: {spans}" if spans else self.kind
