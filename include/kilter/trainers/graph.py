"""A trained network as an ONNX graph, seen to give what torch gives."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch

from kilter.encoding import Matrix
from kilter.errors import DataError
from kilter.trainers import Scores
from kilter.trainers.network import Scorer

OPSET = 17
TOLERANCE = 1e-5
"""How far a score of the graph may be from torch's: of a probability, or as a share of the label's spread."""


def to_onnx(scorer: Scorer, features: int) -> bytes:
    """The scorer as a graph from `rows`, float rows × features, to `scores`. Equal weights give equal bytes."""
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that replaces this one takes fifteen times as long: docs/decisions/0016-torch.md.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            scorer.eval(),
            (torch.zeros(2, features),),
            buffer,
            input_names=["rows"],
            output_names=["scores"],
            dynamic_axes={"rows": {0: "count"}, "scores": {0: "count"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return bytes(buffer.getvalue())


def check_parity(scorer: Scorer, scores: Scores, rows: Matrix, owner: str) -> None:
    """Compare a graph's scores of some rows with torch's.

    Raises:
        DataError: they differ by more than `TOLERANCE`.
    """
    with torch.no_grad():
        expected = scorer.eval()(torch.from_numpy(rows)).numpy().astype(np.float64)
    scale = float(scorer.scale)
    differ = float(np.abs(scores - expected).max()) / scale
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()) / scale)
    if not differ <= allowed:
        raise DataError(
            f"{owner}: its scores of {len(rows)} rows differ from torch's by up to {differ:.2g} (allowed: {allowed:.2g}): it is not "
            "saved; report this with the versions of torch and onnxruntime"
        )
