"""The default policy on streams of known kinds, beside every yardstick, as a stranger would try it.

    .venv/bin/python tests/benchmarks/streams.py
    .venv/bin/python tests/benchmarks/streams.py --only abrupt recurring --fits /tmp/fits

Each stream is drawn from a seed, written as Parquet and replayed by `kilter.backtest` as `kilter backtest --data` does: default
policy, 40 windows, no tuning. The table holds accuracy and trainings of ours and of each yardstick; *gap* is ours less the best
yardstick's, in points. What was aimed at: within one point of the best yardstick, with a third of its trainings.

Needs no service; minutes. Seconds are wall time and say little where other programs run. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from kilter.backtest.outcome import Outcome
from kilter.backtest.policies import Arbitrated, Policy, yardsticks
from kilter.backtest.run import backtest
from kilter.backtest.stream import read_stream

OURS = "kilter"

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Drawn = tuple[Features, Labels]
Random = np.random.Generator

console = Console(highlight=False, width=200)


class Stream(NamedTuple):
    """How rows are drawn, how many, and what is known of it."""

    draw: Callable[[Random, int], Drawn]
    rows: int
    kind: str


def _noisy(truth: npt.NDArray[np.bool_], random: Random, share: float | Features) -> Labels:
    """Labels of two classes, a share of which is turned round."""
    return (truth ^ (random.random(len(truth)) < share)).astype(np.int64)


def small(random: Random, rows: int) -> Drawn:
    numbers = random.normal(size=(rows, 6))
    return numbers, _noisy(numbers[:, 0] + numbers[:, 1] > 0, random, 0.1)


def learning(random: Random, rows: int) -> Drawn:
    """Three classes by a random network of 24 hidden units: more rows go on teaching."""
    numbers = random.normal(size=(rows, 10))
    hidden = np.maximum(0, numbers @ random.normal(size=(10, 24)) + random.normal(size=24))
    score = hidden @ random.normal(size=24)
    return numbers, np.digitize(score, np.quantile(score, [0.33, 0.66]))


def _of_worlds(numbers: Features, worlds: npt.NDArray[np.int64], random: Random) -> Features:
    """A linear score whose weights are the world's."""
    weights = random.normal(size=(worlds.max() + 1, numbers.shape[1]))
    return np.asarray((numbers * weights[worlds]).sum(axis=1))


def _blocks(rows: int, order: Sequence[int]) -> npt.NDArray[np.int64]:
    """Which of `order` each row belongs to, in stretches of equally many rows."""
    return np.asarray(order)[np.arange(rows) * len(order) // rows]


def abrupt(random: Random, rows: int) -> Drawn:
    numbers = random.normal(size=(rows, 8))
    score = _of_worlds(numbers, _blocks(rows, range(4)), random) + 0.5 * numbers[:, 0] * numbers[:, 1]
    return numbers, _noisy(score > 0, random, 0.05)


def _turning(turns: float) -> Callable[[Random, int], Drawn]:
    """A plane that turns by so much of a full turn from the first row to the last."""

    def draw(random: Random, rows: int) -> Drawn:
        numbers = random.normal(size=(rows, 6))
        angle = 2 * np.pi * turns * np.arange(rows) / rows
        score = numbers[:, 0] * np.cos(angle) + numbers[:, 1] * np.sin(angle) + 0.3 * numbers[:, 2]
        return numbers, _noisy(score > 0, random, 0.05)

    return draw


def recurring(random: Random, rows: int) -> Drawn:
    """Three classes; three worlds that take turns and come back."""
    numbers = random.normal(size=(rows, 8))
    return numbers, np.digitize(_of_worlds(numbers, _blocks(rows, [0, 1, 0, 2, 0, 1, 2, 0, 1, 0]), random), [-1, 1])


def shares(random: Random, rows: int) -> Drawn:
    """Five classes that look the same for ever, while their shares swing twice."""
    phase = 2 * np.pi * (2 * np.arange(rows)[:, None] / rows + np.arange(5) / 5)
    weights = np.exp(1.5 * np.sin(phase))
    bounds = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (random.random(rows)[:, None] > bounds).sum(axis=1).clip(0, 4)
    return random.normal(size=(5, 6))[labels] * 0.8 + random.normal(size=(rows, 6)), labels


def repeating(random: Random, rows: int) -> Drawn:
    """A label is nine times in ten that of the row before; two columns wander."""
    fresh, drawn = random.random(rows) >= 0.9, random.integers(2, size=rows)
    fresh[0] = True
    labels = drawn[np.maximum.accumulate(np.where(fresh, np.arange(rows), 0))]
    numbers = random.normal(size=(rows, 6))
    wandering = np.cumsum(random.normal(size=(rows, 2)) * 0.01, axis=0)
    numbers[:, 0] += labels
    numbers[:, 1] += wandering[:, 0]
    numbers[:, 2] += labels * wandering[:, 1]
    return numbers, labels


def cycling(random: Random, rows: int) -> Drawn:
    """Six classes of which two at a time appear, for 400 rows."""
    first = (np.arange(rows) // 400 * 2) % 6
    labels = np.where(random.random(rows) < 0.5, first, first + 1)
    return random.normal(size=(6, 5))[labels] + random.normal(size=(rows, 5)), labels


def moved(random: Random, rows: int) -> Drawn:
    """Columns jump eight times while one rule holds: what was learned stays true."""
    numbers = random.normal(size=(8, 6))[_blocks(rows, range(8))] * 1.5 + random.normal(size=(rows, 6))
    score = np.sin(1.5 * numbers[:, 0]) + 0.5 * numbers[:, 1] * numbers[:, 2] + np.cos(numbers[:, 3])
    return numbers, _noisy(score > 0.5, random, 0.05)


def hard(random: Random, rows: int) -> Drawn:
    """One rule; in each second eighth a quarter of the labels is wrong, else a twentieth."""
    numbers = random.normal(size=(rows, 6))
    share = np.where(_blocks(rows, range(8)) % 2, 0.25, 0.05)
    return numbers, _noisy(numbers[:, 0] * numbers[:, 1] + numbers[:, 2] > 0, random, share)


def ten(random: Random, rows: int) -> Drawn:
    """Ten classes of three clusters each, which drift apart."""
    centres, speeds = random.normal(size=(10, 3, 12)) * 1.2, random.normal(size=(10, 3, 12))
    labels, cluster = random.integers(10, size=rows), random.integers(3, size=rows)
    drifted = 1.5 * speeds[labels, cluster] * np.arange(rows)[:, None] / rows
    return centres[labels, cluster] + drifted + random.normal(size=(rows, 12)), labels


STREAMS = {
    "small": Stream(small, 1000, "nothing changes, few rows"),
    "learning": Stream(learning, 8000, "nothing changes, more rows teach more"),
    "abrupt": Stream(abrupt, 12_000, "three changes for good"),
    "turning": Stream(_turning(1.0), 12_000, "changes all the time: only recent rows help"),
    "slowly": Stream(_turning(1 / 6), 12_000, "changes slowly"),
    "recurring": Stream(recurring, 12_000, "three worlds that come back"),
    "shares": Stream(shares, 10_000, "shares of the classes swing"),
    "repeating": Stream(repeating, 10_000, "labels repeat"),
    "cycling": Stream(cycling, 9600, "classes come and go in turns"),
    "moved": Stream(moved, 10_000, "columns jump, the rule holds: forgetting hurts"),
    "hard": Stream(hard, 10_000, "hard periods: training gains nothing"),
    "ten": Stream(ten, 10_000, "ten classes that drift"),
}


def write(name: str, folder: Path, rows: int | None = None) -> Path:
    """Draw a stream, always the same, and write it as Parquet with a label `y` and a time `t`."""
    stream = STREAMS[name]
    numbers, labels = stream.draw(np.random.default_rng(list(name.encode())), rows or stream.rows)
    frame = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(numbers.shape[1])])
    file = folder / f"{name}.parquet"
    frame.assign(y=labels, t=np.arange(len(labels))).to_parquet(file)
    return file


def replayed(file: Path, fits: Path, windows: int | None = None) -> dict[str, Outcome]:
    """The default policy and all yardsticks on a stream, by name."""
    history = read_stream(file, "y", "t", windows=windows)
    policies: list[Policy] = [Arbitrated(OURS, history.spec), *yardsticks(5)]
    return {item.policy: item for item in backtest(history, policies, fits, lambda *_: None)}


def best_yardstick(found: dict[str, Outcome]) -> Outcome:
    return max((item for name, item in found.items() if name != OURS), key=lambda item: item.quality)


def _shown(results: dict[str, dict[str, Outcome]]) -> Table:
    table = Table(title="accuracy in percent / trainings", title_justify="left")
    names = list(next(iter(results.values())))
    for column in ("stream", *names, "gap", "brought back", "blind rows"):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for stream, found in results.items():
        best, ours = best_yardstick(found), found[OURS]
        cells = [
            f"[bold]{100 * item.quality:.1f}[/] / {item.trainings}"
            if item is best
            else f"{100 * item.quality:.1f} / {item.trainings}"
            for item in found.values()
        ]
        gap = f"{100 * (ours.quality - best.quality):+.1f}"
        table.add_row(stream, *cells, gap, str(ours.returns), f"{ours.blind_rows / ours.rows:.0%}")
    return table


def _facts(found: dict[str, Outcome]) -> dict[str, object]:
    best, ours = best_yardstick(found), found[OURS]
    return {
        "accuracy": {name: round(item.quality, 4) for name, item in found.items()},
        "trainings": {name: item.trainings for name, item in found.items()},
        "best": best.policy,
        "gap_points": round(100 * (ours.quality - best.quality), 2),
        "false_alarms": ours.false_alarms,
        "returns": ours.returns,
        "blind_share": round(ours.blind_rows / ours.rows, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STREAMS, default=list(STREAMS), metavar="STREAM")
    parser.add_argument("--fits", type=Path, help="keep trainings here, for a next run; default nowhere")
    options = parser.parse_args()
    results: dict[str, dict[str, Outcome]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            results[name] = replayed(write(name, Path(folder)), options.fits or Path(folder) / "fits")
            gap = 100 * (results[name][OURS].quality - best_yardstick(results[name]).quality)
            console.print(f"{name} ({STREAMS[name].kind}): gap {gap:+.2f}, {time.monotonic() - began:.0f} s")
    console.print(_shown(results))
    print(json.dumps({name: _facts(found) for name, found in results.items()}))


if __name__ == "__main__":
    main()
