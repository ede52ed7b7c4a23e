"""Writing ONNX: as much of its file format as a tree ensemble needs, so that a server needs no compiler of models.

An ONNX file is one protobuf message, `ModelProto`. The numbers here are those of its fields in `onnx.proto3`,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the wire format is https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

Attribute = int | str | list[str] | npt.NDArray[np.float32] | npt.NDArray[np.int64]

_IR_VERSION = 8
_OPERATORS = {"": 13, "ai.onnx.ml": 3}
"""Versions of the operator sets: the first of each that has what is used."""
_FLOAT = 1
_BYTES_OF_INTEGER = 4


def model(nodes: Iterable[bytes], features: int, width: int) -> bytes:
    """A model of these nodes, from the input `rows`, float rows × features, to the output `scores`, float rows × width."""
    graph = b"".join(_field(1, item) for item in nodes) + _field(2, b"kilter")
    graph += _field(11, _matrix("rows", features)) + _field(12, _matrix("scores", width))
    operators = (_field(1, domain.encode()) + _number(2, version) for domain, version in _OPERATORS.items())
    return _number(1, _IR_VERSION) + _field(7, graph) + b"".join(_field(8, item) for item in operators)


def node(operator: str, source: str, target: str, domain: str, attributes: Mapping[str, Attribute]) -> bytes:
    """A node of a model with one input and one output."""
    parts = [_field(1, source.encode()), _field(2, target.encode()), _field(4, operator.encode())]
    parts += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts) + _field(7, domain.encode())


def _attribute(name: str, value: Attribute) -> bytes:
    named = _field(1, name.encode())
    if isinstance(value, int):
        return named + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return named + _field(4, value.encode()) + _number(20, 3)
    if isinstance(value, list):
        texts = {text: _field(9, text.encode()) for text in set(value)}
        return named + b"".join(texts[text] for text in value) + _number(20, 8)
    if value.dtype.kind == "f":
        return named + _field(7, value.astype("<f4").tobytes()) + _number(20, 6)
    return named + _field(8, _integers(value.astype(np.int64))) + _number(20, 7)


def _matrix(name: str, columns: int) -> bytes:
    """A value of floats, any number of rows × so many columns."""
    shape = _field(1, _field(2, b"count")) + _field(1, _number(1, columns))
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, _FLOAT) + _field(2, shape)))


def _integers(values: npt.NDArray[np.int64]) -> bytes:
    """Integers from 0 to 2²⁸ - 1, each padded to four bytes, which readers accept, and at once, which is quick."""
    shifts = 7 * np.arange(_BYTES_OF_INTEGER)
    groups = values[:, None] >> shifts & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8).tobytes()


def _number(field: int, value: int) -> bytes:
    return _integer(field << 3) + _integer(value)


def _field(field: int, content: bytes) -> bytes:
    return _integer(field << 3 | 2) + _integer(len(content)) + content


def _integer(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
