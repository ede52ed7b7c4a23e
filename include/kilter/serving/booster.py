"""XGBoost's booster by its C interface: the Python package imports pandas where it is there, 150 MB and seconds.

Source: https://xgboost.readthedocs.io/en/stable/c.html. Half of the time that the package's `inplace_predict` takes for
one row is spent in Python.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kilter.encoding import Matrix
from kilter.errors import DataError
from kilter.serving.score import Score

_CONFIG = json.dumps(
    {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False, "missing": np.nan}
).encode()
_ROWS = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f4", "version": 3}'
"""A matrix in memory, as numpy's `__array_interface__` describes one."""


class Booster:
    """A booster with one thread: a row takes longer to hand to a second thread than to score.

    Args:
        data: the model, in UBJSON.
        owner: what the bytes are, for the error.

    Raises:
        DataError: XGBoost refuses the bytes.
    """

    name = "xgboost"

    def __init__(self, data: bytes, owner: str) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._scores = ctypes.POINTER(ctypes.c_float)()
        self._dimensions = ctypes.c_uint64()
        self._found = [ctypes.byref(item) for item in (self._shape, self._dimensions, self._scores)]
        features = ctypes.c_uint64()
        self._call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        try:
            self._call("XGBoosterLoadModelFromBuffer", self._handle, data, ctypes.c_uint64(len(data)))
            self._call("XGBoosterSetParam", self._handle, b"nthread", b"1")
            self._call("XGBoosterGetNumFeature", self._handle, ctypes.byref(features))
            self.features = features.value
            self._width = self._width_of_a_row()
        except RuntimeError as error:
            raise DataError(
                f"{owner} is no XGBoost model in UBJSON: {str(error).splitlines()[-1]}: train it again"
            ) from None

    def __del__(self) -> None:
        self._library.XGBoosterFree(self._handle)

    def predict(self, rows: Matrix) -> Sequence[Score]:
        """Score rows, one after the other."""
        self._predict(rows)
        if self._width == 1:
            return self._scores[: len(rows)]
        numbers = self._scores[: len(rows) * self._width]
        return [numbers[start : start + self._width] for start in range(0, len(numbers), self._width)]

    def _predict(self, rows: Matrix) -> None:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        described = _ROWS % (rows.ctypes.data, *rows.shape)
        self._call("XGBoosterPredictFromDense", self._handle, described, _CONFIG, None, *self._found)

    def _width_of_a_row(self) -> int:
        """How many numbers the score of a row is."""
        self._predict(np.full((1, self.features), np.nan, np.float32))
        return self._shape[1] if self._dimensions.value > 1 else 1

    def _call(self, function: str, *arguments: Any) -> None:
        """Raises RuntimeError with XGBoost's own words when it reports a failure."""
        if getattr(self._library, function)(*arguments):
            raise RuntimeError(self._library.XGBGetLastError().decode())


@cache
def _library() -> Any:
    """The library that the package `xgboost` brings, without importing the package."""
    package = importlib.util.find_spec("xgboost")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("no package 'xgboost': install requirements.lock", name="xgboost")
    library = ctypes.CDLL(str(Path(package.origin).parent / "lib/libxgboost.so"))
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library
