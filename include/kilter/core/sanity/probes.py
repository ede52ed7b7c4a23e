"""Rare input that a model must still give a score for: what is missing, each category, and numbers far out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilter.core.sanity.scores import in_words, is_score
from kilter.encoding import Matrix, Signature
from kilter.spec import Feature, Task

Scores = npt.NDArray[np.float64]

_FAR = 1000.0
"""Ranges of the train part beyond its extremes."""

_TOGETHER = 500
"""Probes in one call of the model: few calls, and bounded memory."""

_LIMIT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Probe:
    """One value put into one column of real rows, or into all of them."""

    name: str
    columns: slice
    value: float


def probes(train: Matrix, signature: Signature) -> Iterator[Probe]:
    """All missing; then each feature: missing or of an unknown category, each category, or 0, ±1 and extreme numbers.

    Args:
        train: encoded rows × features of the train part, whose extremes count.
    """
    yield Probe("every feature missing", slice(None), np.nan)
    for column, feature in enumerate(signature.features):
        for name, value in _values(feature, train[:, column]):
            yield Probe(f"feature '{feature.name}' {name}", slice(column, column + 1), value)


def unscored(tried: Sequence[Probe], predict: Callable[[Matrix], Scores], rows: Matrix, task: Task) -> list[str]:
    """The probes by which a row gets no score of its task's kind, each in words with the first such score.

    Args:
        rows: encoded, rows × features; each probe is put into all of them.
    """
    found = []
    for first in range(0, len(tried), _TOGETHER):
        together = tried[first : first + _TOGETHER]
        probed = np.repeat(rows[np.newaxis], len(together), axis=0)
        for place, probe in enumerate(together):
            probed[place, :, probe.columns] = probe.value
        scores = predict(probed.reshape(-1, rows.shape[1]))
        fine = is_score(scores, task).reshape(len(together), len(rows))
        found += [
            f"{probe.name} scores {in_words(scores[place * len(rows) + int(fine[place].argmin())])}"
            for place, probe in enumerate(together)
            if not fine[place].all()
        ]
    return found


def _values(feature: Feature, known: Matrix) -> Iterator[tuple[str, float]]:
    if feature.categories:
        yield "missing or of an unknown category", np.nan
        yield from ((f"= '{category}'", float(code)) for code, category in enumerate(feature.categories))
        return
    yield "missing", np.nan
    yield from ((f"= {number:g}", number) for number in (-1.0, 0.0, 1.0))
    known = known[~np.isnan(known)]
    if len(known):
        least, most = float(known.min()), float(known.max())
        far = _FAR * max(most - least, 1.0)
        for number in (least, most, max(least - far, -_LIMIT), min(most + far, _LIMIT)):
            yield f"= {number:g}", number
