"""Search spaces: which parameters of a trainer a search tries, and between which values.

Data alone, so that model.yaml is checked against it without loading the trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

Value = float | int | str | bool


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        default: what a search begins with where model.yaml says nothing: what the trainer takes, or what is nearest to it.
        log: whether ratios matter rather than differences; `low` is above zero then.
        integer: whole numbers only.
    """

    low: float
    high: float
    default: float
    log: bool = False
    integer: bool = False

    def holds(self, value: Value) -> bool:
        """Whether a search may try this value.

        >>> Range(2, 8, default=6, integer=True).holds(3), Range(2, 8, default=6, integer=True).holds(3.5)
        (True, False)
        """
        if isinstance(value, bool | str):
            return False
        return self.low <= value <= self.high and not (self.integer and value != int(value))

    def with_value(self, value: Value) -> Range:
        """This range, wide enough for a value; one that is no number, or not whole where it must be, changes nothing.

        >>> Range(0.01, 1, default=1, log=True).with_value(0)
        Range(low=0, high=1, default=1, log=False, integer=False)
        """
        if isinstance(value, bool | str) or (self.integer and value != int(value)):
            return self
        low, high = min(self.low, value), max(self.high, value)
        return replace(self, low=low, high=high, log=self.log and low > 0)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]
    default: Value

    def holds(self, value: Value) -> bool:
        """Whether a search may try this value."""
        return value in self.values

    def with_value(self, value: Value) -> Choice:
        """These choices and a value."""
        return self if self.holds(value) else replace(self, values=(*self.values, value))


Space = Mapping[str, Range | Choice]

SPACES: dict[str, Space] = {
    "xgboost": {
        "max_depth": Range(2, 10, default=6, integer=True),
        "eta": Range(0.01, 0.3, default=0.3, log=True),
        "min_child_weight": Range(0.5, 100, default=1, log=True),
        "subsample": Range(0.5, 1, default=1),
        "colsample_bytree": Range(0.4, 1, default=1),
        "reg_lambda": Range(0.01, 100, default=1, log=True),
        "gamma": Range(0, 5, default=0),
    },
    "torch": {
        "width": Range(32, 512, default=128, log=True, integer=True),
        "depth": Range(1, 6, default=2, integer=True),
        "dropout": Range(0, 0.5, default=0.1),
        "embedding": Range(2, 32, default=8, log=True, integer=True),
        "bins": Range(4, 64, default=16, log=True, integer=True),
        "batch_rows": Range(128, 4096, default=512, log=True, integer=True),
        "learning_rate": Range(1e-4, 1e-2, default=1e-3, log=True),
        "weight_decay": Range(1e-5, 0.3, default=1e-2, log=True),
    },
}
"""By trainer. Of XGBoost what decides most in practice (Probst, Boulesteix and Bischl 2019, "Tunability", and XGBoost's own "Notes
on Parameter Tuning"); of the network about what Gorishniy et al. 2021 ("Revisiting Deep Learning Models for Tabular Data") tune."""


def starting_point(space: Space, given: Mapping[str, Value]) -> dict[str, Value]:
    """The values that a model trains with now: those given, else the trainer's own or, of a range without it, the nearest.

    >>> starting_point({"eta": Range(0.01, 0.3, default=0.3)}, {"eta": 0.08, "max_bin": 64})
    {'eta': 0.08}
    """
    return {name: values.default for name, values in space.items()} | inside(space, given)


def inside(space: Space, given: Mapping[str, Value]) -> dict[str, Value]:
    """Of some values those that a search of this space may try.

    >>> inside({"eta": Range(0.01, 0.3, default=0.3)}, {"eta": 0.5}), inside({"eta": Range(0.01, 1, default=0.3)}, {"eta": 0.5})
    ({}, {'eta': 0.5})
    """
    return {name: value for name, value in given.items() if name in space and space[name].holds(value)}


def described(space: Space) -> dict[str, dict[str, Any]]:
    """The space in JSON's types, for a digest."""
    return {name: asdict(values) for name, values in space.items()}
