"""Where the rows of an interval come from: its batch, and the objects that were read."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Origin(BaseModel):
    """The features and labels objects of one interval, as a snapshot found them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: datetime
    end: datetime | None
    """None where the interval has no record, so that nothing tells its end."""
    batch: str | None
    """Digest of the batch that both were built of; None where nothing tells, or where they are not what was built."""
    features: str
    labels: str | None
    """SHA-256; None where the interval has no labels object."""
