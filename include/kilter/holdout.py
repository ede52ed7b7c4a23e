"""The rows that a gate judges by, scored once: candidate, champion and labels side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from kilter.core.sanity.prior import Prior, guesses
from kilter.core.uncertainty.blocks import blocks_of

if TYPE_CHECKING:
    import pandas as pd

    from kilter.spec import ModelSpec
    from kilter.stores.objects import ObjectStore

Vector = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]
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
    prior: Prior
    """What the candidate's train part says of every row, as `kilter.core.sanity.prior` has it."""
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
        labels: encoded, as metrics take them.
        candidate, champion: scores, of many classes of shape (rows, classes); the champion's are all NaN where there
            is none.
    """

    facts: Facts
    frame: pd.DataFrame
    labels: Vector
    candidate: Scores
    champion: Scores
    times: npt.NDArray[np.datetime64]

    @cached_property
    def comparable(self) -> npt.NDArray[np.bool_]:
        """Rows that neither candidate nor champion learned from; none without a champion."""
        if self.facts.unseen_from is None:
            return np.zeros(len(self.labels), dtype=bool)
        return self.times >= np.datetime64(self.facts.unseen_from.replace(tzinfo=None), "us")

    @property
    def guesses(self) -> Scores:
        """The prior as the score of each row."""
        return guesses(self.facts.prior, len(self.labels))

    def blocks(self, length: timedelta) -> Blocks:
        """The block of event time that each row lies in, as a number; with a length of zero each row has its own."""
        return blocks_of(self.times, length)


def read_holdout(objects: ObjectStore, key: str, spec: ModelSpec) -> Holdout:
    """Read what `score_holdout` committed.

    Raises:
        DataError: it was never committed, was altered, or holds a class that the spec has not.
    """
    from kilter.encoding import encode_labels
    from kilter.scores import from_column
    from kilter.stores.objects import read_manifest
    from kilter.stores.parquet import read_table

    facts = Facts.model_validate(read_manifest(objects, key).facts)
    frame = read_table(objects, key, ROWS_FILE).to_pandas()
    scores = read_table(objects, key, SCORES_FILE).to_pandas()
    return Holdout(
        facts=facts,
        frame=frame,
        labels=encode_labels(frame[spec.label.column], spec.label.classes),
        candidate=from_column(scores["candidate"], spec.label.classes),
        champion=from_column(scores["champion"], spec.label.classes),
        times=frame[spec.timestamp].dt.tz_localize(None).to_numpy("datetime64[us]"),
    )
