"""How long each step's container takes from its start to the first line of `run()`.

    .venv/bin/python tests/benchmarks/step_start.py

Every step runs in its container as Airflow would start it, without Airflow, in the order of the loop: ingestion,
training, validation, rollout with requests flowing, monitoring; several times, after one round to warm up. In one more
round Python itself tells how long its imports take (-X importtime): those before the first line of `run()` are Kilter's,
those within `run()` are what the step itself needs. Aim: under 1 s from the container's start to the first line, plus the step's own imports.

Needs a Docker engine, and HAProxy. The last line is one JSON object with the medians.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from flow import MONTHS, bring_up_champion, ingest, monitor, roll_out, train, validate
from installation import Installation, console, installation, say
from plain import Plain, Ran
from rich.table import Table

from kilter.demo.replay import Replay
from kilter.step import step_names

AIM = 1.0
_RATE = 60
"""Requests a second while a canary runs."""
_BEGIN = re.compile(r"^step \w+ of \w+ starts on", re.MULTILINE)
_IMPORT = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)


@dataclass
class Observer:
    """Runs steps and keeps what is seen of each.

    Args:
        environment: variables that all containers get besides their own.
    """

    plain: Plain
    environment: Mapping[str, str]
    seen: dict[str, list[Ran]] = field(default_factory=lambda: defaultdict(list))

    def run(self, step: str, /, **inputs: Any) -> dict[str, Any]:
        """Run a step, look at it, and return its outputs."""
        ran = self.plain.observe(step, self.environment, **inputs)
        self.seen[step].append(ran)
        return ran.outputs


def whole_loop(observer: Observer, place: Installation, number: int) -> None:
    """Every step there is, on inputs that no other round has."""
    start, end = MONTHS[-2:]
    ingest(observer.run, start, end)
    version = train(observer.run, end - timedelta(hours=number))
    validate(observer.run, observer.plain.server, version)
    with traffic(place):
        roll_out(observer.run, version, (10, 100))
    monitor(observer.run, start, end)


@contextmanager
def traffic(place: Installation) -> Iterator[None]:
    """Send the last month's rows as requests all the while."""
    stop = threading.Event()
    thread = threading.Thread(target=_send, args=(place, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _send(place: Installation, stop: threading.Event) -> None:
    loop = place.loop
    url = f"{loop.settings.endpoint}/models/{loop.spec.name}/invocations"
    replay = Replay(loop.spec, loop.objects, MONTHS[-2], "origin")
    with httpx.Client() as client:
        replay.keep_asking(client, url, _RATE, lambda: not stop.is_set())


def imports(ran: Ran) -> tuple[float, float]:
    """Seconds of imports before the first line of `run()`, and within it, as `-X importtime` printed them."""
    begin = _BEGIN.search(ran.printed)
    assert begin is not None, f"step '{ran.result.step}' did not say that it starts"
    before, within = ran.printed[: begin.start()], ran.printed[begin.start() :]
    return _import_seconds(before), _import_seconds(within)


def _import_seconds(printed: str) -> float:
    return sum(int(microseconds) for microseconds in _IMPORT.findall(printed)) / 1e6


def measure(place: Installation, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each step; all but the imports are medians."""
    plain = Plain(place)
    say("ingesting two months and bringing up a champion")
    bring_up_champion(plain.run, plain.server)
    observer, importing = Observer(plain, {}), Observer(plain, {"PYTHONPROFILEIMPORTTIME": "1"})
    for number in range(1, repeats + 1):
        whole_loop(observer, place, number)
        say(f"round {number} of {repeats} is done")
    whole_loop(importing, place, repeats + 1)
    assert sorted(observer.seen) == step_names(), f"steps left out: {set(step_names()) - set(observer.seen)}"
    return {step: _figures(rounds, importing.seen[step]) for step, rounds in observer.seen.items()}


def _figures(rounds: list[Ran], importing: list[Ran]) -> dict[str, float]:
    before, within = zip(*(imports(ran) for ran in importing), strict=True)
    seconds = {
        "engine": [ran.started - ran.created for ran in rounds],
        "start": [ran.result.started_at - ran.started for ran in rounds],
        "imports_before": before,
        "own_imports": within,
        "run": [ran.result.seconds for ran in rounds],
    }
    return {name: round(statistics.median(values), 3) for name, values in seconds.items()}


def show(figures: dict[str, dict[str, float]], repeats: int) -> None:
    """Print the table."""
    table = Table(title=f"Start of a step's container: seconds, medians of {repeats} rounds", title_justify="left")
    table.add_column("step", no_wrap=True)
    for column in ("to start", "to run()", "imports", "run()", "own imports"):
        table.add_column(column, justify="right", no_wrap=True)
    for step, row in sorted(figures.items()):
        cells = (row[name] for name in ("engine", "start", "imports_before", "run", "own_imports"))
        table.add_row(step, *(f"{seconds:.2f}" for seconds in cells), style="red" if row["start"] >= AIM else None)
    console.print(table)
    console.print(
        "to start: from the container's creation to its first process; to run(): from there to the first line of"
    )
    console.print(
        "run(), imports among it; own imports: within run(). The imports are of a slower round that logs them."
    )
    console.print(f"Aim: under {AIM:g} s to run(); a step that misses it is red.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="rounds that are measured (default %(default)s)")
    options = parser.parse_args()
    with installation(with_airflow=False) as place:
        figures = measure(place, options.repeats)
    show(figures, options.repeats)
    starts = [row["start"] for row in figures.values()]
    summary = {"median_start": statistics.median(starts), "slowest_start": max(starts), "aim_start": AIM}
    print(json.dumps({"repeats": options.repeats, **summary, "steps": figures}))


if __name__ == "__main__":
    main()
