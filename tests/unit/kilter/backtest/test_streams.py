"""The default policy on small streams of known kinds: near the best yardstick, with few trainings."""

from pathlib import Path

import pytest
from tests.benchmarks.streams import OURS, write

from kilter.backtest.outcome import Outcome
from kilter.backtest.policies import Arbitrated, Policy, yardsticks
from kilter.backtest.run import backtest
from kilter.backtest.stream import read_stream

ALWAYS = 16
"""Trainings of the yardsticks *always*, over 18 windows of which the first two make the first model."""


def lived(name: str, rows: int, folder: Path) -> dict[str, Outcome]:
    """Ours and the yardsticks that train seldom."""
    history = read_stream(write(name, folder, rows), "y", "t", windows=18)
    policies: list[Policy] = [Arbitrated(OURS, history.spec), *yardsticks(5)[:3]]
    return {item.policy: item for item in backtest(history, policies, folder, lambda *_: None)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "gap"),
    [("abrupt", 3600, 0.0), ("small", 900, -0.03), ("slowly", 3600, -0.03), ("hard", 3600, -0.03)],
    ids=["changes for good", "nothing changes", "changes slowly", "hard periods"],
)
def test_it_keeps_up_with_yardsticks_that_train_seldom(name: str, rows: int, gap: float, tmp_path: Path) -> None:
    found = lived(name, rows, tmp_path)
    ours = found.pop(OURS)
    assert ours.quality >= max(item.quality for item in found.values()) + gap
    assert ours.trainings <= ALWAYS / 2


def test_changes_for_good_are_answered(tmp_path: Path) -> None:
    found = lived("abrupt", 3600, tmp_path)
    assert found[OURS].quality > found["never"].quality + 0.05


def test_a_stream_is_the_same_each_time(tmp_path: Path) -> None:
    first = write("ten", tmp_path, 100).read_bytes()
    assert write("ten", tmp_path, 100).read_bytes() == first
