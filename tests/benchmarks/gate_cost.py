"""What an interval on a million rows costs."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gate_alone import CONFIDENCE, console, known
from rich.table import Table
from scipy.special import expit

from kilter.core.metrics import loss_of, measure
from kilter.core.uncertainty.bootstrap import REPLICATES
from kilter.core.uncertainty.estimate import loss
from kilter.spec import METRICS

MILLION = 1_000_000
LOOPS = 3


def million() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the scores of a candidate and a champion."""
    random = np.random.default_rng(0)
    risk = random.normal(size=MILLION)
    labels = (random.random(MILLION) < expit(risk - 1)).astype(float)
    candidate, champion = (expit(risk + 0.4 * random.normal(size=MILLION) - 1) for _ in range(2))
    return labels, candidate, champion


def ours(metric: str, blocks: int) -> float:
    """Seconds of a paired loss of a million rows in so many blocks."""
    columns = million()
    numbers = np.arange(MILLION) * blocks // MILLION
    begun = time.perf_counter()
    known(loss(metric, *columns, numbers, CONFIDENCE))
    return time.perf_counter() - begun


def loop(metric: str) -> float:
    """Seconds that `REPLICATES` passes of a naive bootstrap would take, by a few of them."""
    columns, random = million(), np.random.default_rng(1)
    begun = time.perf_counter()
    for _ in range(LOOPS):
        rows = random.integers(MILLION, size=MILLION)
        lost(metric, *(column[rows] for column in columns))
    return (time.perf_counter() - begun) / LOOPS * REPLICATES


def scipys(metric: str) -> float:
    """Seconds that scipy.stats.bootstrap would take for `REPLICATES` resamples, by a few of them."""
    import scipy.stats

    columns, passes = million(), 0

    def counted(*drawn: np.ndarray) -> float:
        nonlocal passes
        passes += 1
        return lost(metric, *drawn)

    begun = time.perf_counter()
    scipy.stats.bootstrap(
        columns, counted, n_resamples=LOOPS, batch=1, paired=True, vectorized=False, method="percentile", rng=1
    )
    return (time.perf_counter() - begun) / passes * REPLICATES


def lost(metric: str, labels: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> float:
    values = [measure([metric], labels, column)[metric] for column in (candidate, champion)]
    return loss_of(metric, *values)


def apart(task: Callable[..., float], *arguments: Any) -> tuple[float, float]:
    """Run in a process of its own: seconds that it tells, and the peak of its memory in MiB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(sender, task, arguments))
    process.start()
    seconds, memory = receiver.recv()
    process.join()
    return seconds, memory


def _tell(sender: Any, task: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    # What is imported on first use is imported now, outside the time.
    labels, candidate, champion = (column[:1000] for column in million())
    for metric in METRICS["binary"]:
        lost(metric, labels, candidate, champion)
        loss(metric, labels, candidate, champion, np.arange(1000), CONFIDENCE)
    seconds = task(*arguments)
    sender.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def cost() -> dict[str, Any]:
    """Seconds and MiB by metric and way; the process with its libraries and the rows alone has a line of its own."""
    found: dict[str, Any] = {"rows_alone": apart(_nothing)}
    for metric in METRICS["binary"]:
        found[metric] = {
            "rows": apart(ours, metric, MILLION),
            "365 days": apart(ours, metric, 365),
            "naive loop": apart(loop, metric),
            "scipy.stats": apart(scipys, metric),
        }
    return found


def _nothing() -> float:
    million()
    return 0.0


def show_cost(found: dict[str, Any]) -> None:
    title = (
        f"Paired loss on {MILLION:,} rows: seconds (peak MiB; libraries and rows alone need "
        f"{found['rows_alone'][1]:.0f}). 'rows': each row a block; the last two: {LOOPS} of {REPLICATES:,} replicates "
        "measured and scaled up"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("metric", no_wrap=True)
    metrics = tuple(METRICS["binary"])
    for way in found[metrics[0]]:
        table.add_column(way, justify="right")
    for metric in metrics:
        table.add_row(metric, *(f"{seconds:,.1f} ({memory:,.0f})" for seconds, memory in found[metric].values()))
    console.print(table)
    total = sum(found[metric]["rows"][0] for metric in metrics)
    console.print(f"All metrics, each row a block: {total:.1f} s.")
