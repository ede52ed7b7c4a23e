"""Rows of a snapshot or a window as regimes are made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kilter.core.regimes import SCORE, Columns, Regime, regime
from kilter.scores import Scores, one_a_row
from kilter.spec import Feature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from kilter.stores.models import Model
    from kilter.stores.objects import ObjectStore

MOST_ROWS = 20_000
"""The newest so many rows make a regime: enough to tell a distance of 0.02."""


def columns_of(frame: pd.DataFrame, features: Sequence[Feature], scores: Scores) -> Columns:
    """The features that the frame has, as numbers or texts, and one score a row."""
    found: dict[str, np.ndarray] = {}
    for feature in features:
        if feature.name not in frame:
            continue
        column = frame[feature.name]
        if feature.categories:
            found[feature.name] = column.astype(object).where(column.notna(), None).to_numpy(object)
        else:
            found[feature.name] = column.to_numpy(np.float64, na_value=np.nan)
    return {**found, SCORE: one_a_row(scores)}


def regime_of(objects: ObjectStore, snapshot: str, model: Model) -> Regime:
    """The regime of a model: the newest part of what it was made with, its validation and test rows.

    Not the train part: where a model learned from all history, that is a mixture of what came and went, and no window ever
    looks like it. And scores of rows that it did not learn from are what its scores of live rows can be held against.
    """
    import pandas as pd

    from kilter.stores.models import read_part

    rows = pd.concat([read_part(objects, snapshot, part) for part in ("validation", "test")], ignore_index=True)
    newest = rows.tail(MOST_ROWS)
    return regime(columns_of(newest, model.signature.features, model.score(newest)))
