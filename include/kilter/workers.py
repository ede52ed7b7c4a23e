"""Processes that train one model together, as `torchrun` starts them."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True)
class Workers:
    """Which of the processes this is, and how many there are; by default one alone.

    Args:
        rank: counted from 0; process 0 alone writes anything.
        local_rank: the same on this machine: the place of its device.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Workers:
        """What `torchrun` tells the processes that it starts.

        >>> Workers.of({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"})
        Workers(rank=1, count=2, local_rank=1)
        >>> Workers.of({})
        Workers(rank=0, count=1, local_rank=0)
        """
        names = {"rank": "RANK", "count": "WORLD_SIZE", "local_rank": "LOCAL_RANK"}
        return cls(**{field: int(environment[name]) for field, name in names.items() if name in environment})


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
