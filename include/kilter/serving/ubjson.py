"""Universal Binary JSON, as XGBoost writes it: numbers in arrays become numpy arrays, as they lie in the file.

Source: https://ubjson.org, draft 12; of it, the markers that XGBoost's writer uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kilter.errors import DataError

_NUMBERS = {
    marker: np.dtype(kind)
    for marker, kind in {
        b"i": "i1",
        b"U": "u1",
        b"I": ">i2",
        b"l": ">i4",
        b"L": ">i8",
        b"d": ">f4",
        b"D": ">f8",
    }.items()
}
_CONSTANTS = {b"T": True, b"F": False, b"Z": None}


def read(data: bytes) -> Any:
    """The document: dicts, lists, texts, numbers, and one numpy array for each array of one numeric type.

    >>> read(b"{L" + b"\\0" * 7 + b"\\1" + b"x[$i#L" + b"\\0" * 7 + b"\\2" + b"\\5\\6}")
    {'x': array([5, 6], dtype=int8)}

    Raises:
        DataError: it ends early, or holds a marker that XGBoost does not write.
    """
    try:
        return _Reader(data).value()
    except RecursionError:
        raise DataError("UBJSON: nested deeper than XGBoost writes it") from None
    except UnicodeDecodeError:
        raise DataError("UBJSON: a text is not UTF-8") from None


class _Reader:
    """A place in the bytes, moved on by what is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> Any:
        marker = self._take(1)
        if marker == b"{":
            return self._object()
        if marker == b"[":
            return self._array()
        if marker == b"S":
            return self._text()
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0].item()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        raise DataError(f"UBJSON: marker {marker!r} at byte {self._at - 1} is not one that XGBoost writes")

    def _object(self) -> dict[str, Any]:
        members = {}
        while not self._skip(b"}"):
            key = self._text()
            members[key] = self.value()
        return members

    def _array(self) -> Any:
        kind = self._take(1) if self._skip(b"$") else None
        if self._skip(b"#"):
            count = self._length()
            return [self.value() for _ in range(count)] if kind is None else self._numbers(kind, count)
        values = []
        while not self._skip(b"]"):
            values.append(self.value())
        return values

    def _numbers(self, marker: bytes, count: int) -> Any:
        if marker not in _NUMBERS:
            raise DataError(f"UBJSON: an array of {marker!r} at byte {self._at} is not one that XGBoost writes")
        kind = _NUMBERS[marker]
        return np.frombuffer(self._take(kind.itemsize * count), kind).astype(kind.newbyteorder("="))

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _length(self) -> int:
        marker = self._take(1)
        if marker not in (b"i", b"U", b"I", b"l", b"L"):
            raise DataError(f"UBJSON: a length at byte {self._at - 1} has the marker {marker!r}")
        length = int.from_bytes(self._take(_NUMBERS[marker].itemsize), "big", signed=marker != b"U")
        if length < 0:
            raise DataError(f"UBJSON: a length at byte {self._at} is {length}")
        return length

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise DataError(f"UBJSON: {size} bytes expected at byte {self._at} and {len(taken)} there")
        self._at += size
        return taken

    def _skip(self, marker: bytes) -> bool:
        """Pass over this marker, if it is the next."""
        found = self._data.startswith(marker, self._at)
        self._at += found
        return found
