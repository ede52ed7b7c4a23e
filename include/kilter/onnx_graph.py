"""A model's ONNX graph, run by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from kilter.encoding import Matrix
from kilter.errors import DataError

_FATAL = 4
"""onnxruntime's log level; what it would print before, it raises as well."""


class OnnxGraph:
    """A graph with one input, float rows × features, and one output, a float for each row, or rows × classes.

    Args:
        data: the ONNX file. Weights in files beside it are refused, since there is no file system to it.
        owner: what the bytes are, for errors.
        threads: for a few rows one is the quickest.

    Raises:
        DataError: onnxruntime refuses it, or input or output are others.
    """

    def __init__(self, data: bytes, owner: str, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no other base
            raise DataError(f"{owner} is no ONNX model that onnxruntime runs: {error}: export it again") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [(item.type, len(item.shape)) for item in (*inputs, *outputs)]
        if shapes not in ([("tensor(float)", 2)] * 2, [("tensor(float)", 2), ("tensor(float)", 1)]):
            raise DataError(
                f"{owner} takes and gives {shapes}: expected one float matrix, and one float column or vector: export it so"
            )
        self._input = inputs[0].name
        self._outputs = [outputs[0].name]
        self.features: Any = inputs[0].shape[1]

    def scores(self, rows: Matrix) -> npt.NDArray[np.float32]:
        """The output for some rows, in the output's own shape."""
        found: npt.NDArray[np.float32] = self._session.run(self._outputs, {self._input: rows})[0]
        return found
