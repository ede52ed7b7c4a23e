"""What a training keeps while it goes on, so that one that was killed resumes where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from kilter.errors import DataError

Tensors = Mapping[str, npt.NDArray[Any]]

_LENGTH = 8
"""Bytes of a safetensors file before its header, which hold the header's length, little-endian."""
_FACTS = "facts"


@dataclass(frozen=True)
class Checkpoint:
    """A training's state after an epoch: numbers by name, and facts that JSON can hold."""

    tensors: Tensors
    facts: Mapping[str, Any]


class Checkpoints(Protocol):
    """Where the checkpoint of one training is; there is one at most."""

    def load(self) -> Checkpoint | None:
        """The checkpoint of this very training, or None.

        Raises:
            DataError: what is there is another training's, or is no checkpoint.
        """

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; a fault is told and ends no training."""


class NoCheckpoints:
    """For trainings that begin again when they were killed."""

    def load(self) -> Checkpoint | None:
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        pass


def to_safetensors(tensors: Tensors, facts: Mapping[str, Any]) -> bytes:
    """Serialise. Equal content gives equal bytes: the facts are one entry, for safetensors keeps no order of several."""
    from safetensors.numpy import save

    return bytes(save(dict(tensors), metadata={_FACTS: json.dumps(facts)}))


def facts_of(data: bytes, owner: str) -> dict[str, Any]:
    """The facts of a safetensors file, without reading its tensors.

    Raises:
        DataError: it is no such file of Kilter's.
    """
    length = int.from_bytes(data[:_LENGTH], "little")
    try:
        return dict(json.loads(json.loads(data[_LENGTH : _LENGTH + length])["__metadata__"][_FACTS]))
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{owner} is no safetensors file that Kilter wrote: remove it") from None


def from_safetensors(data: bytes, owner: str) -> Checkpoint:
    """Read what `to_safetensors` wrote.

    Raises:
        DataError: it is truncated, or no such file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    facts = facts_of(data, owner)
    try:
        return Checkpoint(load(data), facts)
    except SafetensorError as error:
        raise DataError(f"{owner} is no safetensors file: {error}: remove it") from None
