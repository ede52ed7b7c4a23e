"""The rows that a gate judges by, scored once: candidate, champion and labels side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.uncertainty.blocks import blocks_of

if TYPE_CHECKING:
    import pandas as pd

    from kilter.spec import ModelSpec
    from kilter.stores.objects import ObjectStore

Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

ROWS_FILE = "rows.parquet"
SCORES_FILE = "scores.parquet"


class Facts(BaseModel):
    """What a holdout was made of; the facts of its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: int
    model: str
    """Key of the candidate's files."""
    digest: str
    snapshot: str
    champion: int | None
    as_of: datetime
    """Event time up to which labels were known."""
    start: datetime
    end: datetime
    """Event times of the first and the last row."""
    rows: int
    new_rows: int
    """Rows that came after the snapshot was frozen."""
    prior: float
    """Mean label of the candidate's train part."""
    unseen_from: datetime | None
    """Event time from which on the champion, too, learned nothing from the rows; None where it was not scored."""
    incomparable: str = ""
    """Why there is a champion and it could not be scored on the rows."""
    look: int
    """By how many sets of rows the candidate has been judged, this one counted."""
    confidence: float
    """Of every interval at this look, two-sided."""


@dataclass(frozen=True)
class Holdout:
    """Labelled rows in the order of event time, with the scores of the candidate and of the champion.

    Args:
        frame: entity, event time, features, label.
        candidate, champion: one score a row; the champion's are all NaN where there is none.
    """

    facts: Facts
    frame: pd.DataFrame
    labels: Vector
    candidate: Vector
    champion: Vector
    times: npt.NDArray[np.datetime64]

    @cached_property
    def comparable(self) -> npt.NDArray[np.bool_]:
        """Rows that neither candidate nor champion learned from; none without a champion."""
        if self.facts.unseen_from is None:
            return np.zeros(len(self.labels), dtype=bool)
        return self.times >= np.datetime64(self.facts.unseen_from.replace(tzinfo=None), "us")

    def blocks(self, length: timedelta) -> Blocks:
        """The block of event time that each row lies in, as a number; with a length of zero each row has its own."""
        return blocks_of(self.times, length)


def read_holdout(objects: ObjectStore, key: str, spec: ModelSpec) -> Holdout:
    """Read what `score_holdout` committed.

    Raises:
        DataError: it was never committed, or was altered.
    """
    from kilter.stores.objects import read_manifest
    from kilter.stores.parquet import read_table

    facts = Facts.model_validate(read_manifest(objects, key).facts)
    frame = read_table(objects, key, ROWS_FILE).to_pandas()
    scores = read_table(objects, key, SCORES_FILE).to_pandas()
    return Holdout(
        facts=facts,
        frame=frame,
        labels=frame[spec.label.column].to_numpy(np.float64),
        candidate=scores["candidate"].to_numpy(np.float64),
        champion=scores["champion"].to_numpy(np.float64),
        times=frame[spec.timestamp].dt.tz_localize(None).to_numpy("datetime64[us]"),
    )
