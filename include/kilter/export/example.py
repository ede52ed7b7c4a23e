"""Rows to try a model with, made up within what was observed: no row of the data leaves with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kilter.encoding import Matrix, Signature

Value = float | str | None
_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Quantiles of a number that rows are made of."""


def made_up_rows(observed: Matrix, signature: Signature) -> list[dict[str, Value]]:
    """Five rows, one of which every other value is missing, and one of which all are; always the same ones.

    A number is one of the quantiles 0.1 … 0.9 of those observed, to four digits, missing where none was observed; a
    category is one of those that the signature lists. Neighbouring features are at different places, so that no row is
    the typical one.

    Args:
        observed: encoded rows, rows × features, one or more.
    """
    choices = [
        _choices(feature.categories, values) for feature, values in zip(signature.features, observed.T, strict=True)
    ]
    rows = [_row(choices, signature, first) for first in range(len(_LEVELS))]
    gaps = {name: value if place % 2 else None for place, (name, value) in enumerate(rows[0].items())}
    return [*rows, gaps, dict.fromkeys(signature.names)]


def as_columns(rows: Sequence[Mapping[str, Value]], signature: Signature) -> dict[str, list[Value]]:
    """Rows as the columns that `kilter.encoding.encode` takes."""
    return {name: [row[name] for row in rows] for name in signature.names}


def _row(choices: Sequence[Sequence[Value]], signature: Signature, first: int) -> dict[str, Value]:
    return {
        name: values[(first + place) % len(values)]
        for place, (name, values) in enumerate(zip(signature.names, choices, strict=True))
    }


def _choices(categories: Sequence[str], observed: Matrix) -> Sequence[Value]:
    if categories:
        return categories
    known = observed[~np.isnan(observed)]
    return [float(f"{value:.4g}") for value in np.quantile(known, _LEVELS)] if len(known) else [None]
