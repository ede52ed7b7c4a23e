"""Labelled rows with the features of their time, as training and judging both take them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from kilter.errors import InputError
from kilter.spec import ModelSpec
from kilter.step import StepContext
from kilter.stores.ledger import Ledger

if TYPE_CHECKING:
    import pandas as pd


def reach(spec: ModelSpec, ledger: Ledger) -> datetime:
    """How far the data of a model reaches, in event time: the end of its newest passed interval.

    Raises:
        InputError: no batch passed yet.
    """
    ends: list[datetime] = [row["interval_end"] for row in ledger.batches(spec.name, verdict="passed")]
    if not ends:
        raise InputError(
            f"model '{spec.name}' has no passed batch yet: run {spec.name}.feature_ingestion first, or give as_of"
        )
    return max(ends)


def labelled_rows(context: StepContext, as_of: datetime, since: datetime | None = None) -> tuple[pd.DataFrame, int]:
    """Rows whose label had reached us by `as_of`, with their features as of their event time.

    Args:
        since: leave out rows of earlier event times; default none.

    Returns:
        Columns entity, event time, features in the spec's order, label and label timestamp, ordered by
        event time and entity; and how many labels were left out, because no feature of theirs was ever built.
    """
    from kilter.stores.labels import known_labels

    spec = context.spec
    columns = [spec.entity, spec.timestamp, *spec.features.names, spec.label.column, spec.label.timestamp]
    labels = known_labels(context.objects, spec, as_of, since)
    if labels.empty:
        return labels.reindex(columns=columns), 0
    joined = context.features.historical(labels.sort_values([spec.timestamp, spec.entity], ignore_index=True))
    found = joined[list(spec.features.names)].notna().any(axis=1)
    return joined.loc[found, columns].reset_index(drop=True), int((~found).sum())
