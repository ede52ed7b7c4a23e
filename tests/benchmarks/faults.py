"""SIGKILL for every part of a rollout in every state, under traffic at a fixed rate: what it costs, and for how long.

    python tests/benchmarks/faults.py [--rounds 3] [--rate 60] [--seed 1] [--burst-kills 10]

Real HAProxy, model servers, MLflow and steps as processes; versions are rolled out in turn, each step is tried again when it
dies, and each server is started again, as tests/faults do in small. A round kills each part once in each state, at a
random moment. Then both servers get as many requests as sixteen clients can ask, and the canary's is killed again and again:
what HAProxy asks again, and what it cannot. Ends with an error when anything that must hold did not. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table
from tests.contract.serving.conftest import Installation
from tests.faults.burst import LARGE_ROWS, Lost, kill_under_load
from tests.faults.campaign import play
from tests.faults.effects import Effect
from tests.faults.kills import CELLS, PARTS
from tests.faults.rollout import STATES, first_champion
from tests.faults.witness import Witness
from tests.faults.world import World

BURSTS = {
    "1 row, weight 50": (1, 50),
    "1 row, weight 100": (1, 100),
    f"{LARGE_ROWS} rows, weight 50": (LARGE_ROWS, 50),
}
"""Rows a request, and the weight of the canary that is killed."""
console = Console(highlight=False, soft_wrap=True)


def summary(effects: Sequence[Effect]) -> dict[str, float]:
    """What came of some kills, all together."""
    return {
        "kills": len(effects),
        "requests": sum(effect.requests for effect in effects),
        "in_flight": sum(effect.in_flight for effect in effects),
        "failed": sum(len(effect.failed) for effect in effects),
        "most_failed": max((len(effect.failed) for effect in effects), default=0),
        "unserved": max((effect.unserved for effect in effects), default=0.0),
        "slowest": max((effect.slowest for effect in effects), default=0.0),
        "disagreed": max((effect.disagreed for effect in effects), default=0.0),
        "violations": sum(len(effect.violations) for effect in effects),
    }


def grouped(effects: Sequence[Effect]) -> dict[str, dict[str, float]]:
    """By part and state, parts in order; and a part's kills that left nobody to answer apart from the others."""
    found = {}
    for part in PARTS:
        for state in STATES:
            for alone in (False, True):
                chosen = [
                    item
                    for item in effects
                    if (item.kill.part, item.kill.state, item.kill.alone) == (part, state, alone)
                ]
                if chosen:
                    found[f"{part}, {state}{', nobody left' if alone else ''}"] = summary(chosen)
    return found


def show(found: Mapping[str, Mapping[str, float]]) -> None:
    names = (
        "kills",
        "requests",
        "in flight",
        "failed",
        "unserved s",
        "slowest answer s",
        "weights off s",
        "violations",
    )
    table = Table("killed", *names)
    for name, row in found.items():
        counts = (f"{row[key]:.0f}" for key in ("kills", "requests", "in_flight", "failed"))
        seconds = (f"{row[key]:.2f}" for key in ("unserved", "slowest", "disagreed"))
        table.add_row(name, *counts, *seconds, f"{row['violations']:.0f}")
    console.print(table)


def show_bursts(found: Mapping[str, Lost]) -> None:
    table = Table("sixteen clients", "kills", "in flight", "lost", "of these cut off", "lost later", "slowest answer s")
    for name, lost in found.items():
        counts = (lost.kills, lost.in_flight, lost.lost, lost.cut, lost.later)
        table.add_row(name, *map(str, counts), f"{lost.slowest:.2f}")
    console.print(table)


def say(line: str) -> None:
    """Show progress."""
    console.print(line, style="dim", markup=False)


def campaign(world: World, rounds: int, seed: int) -> list[Effect]:
    """All kills of all rounds."""
    effects: list[Effect] = []
    with world.traffic, Witness(world.ledger, world.router) as witness:
        for effect in play(world, witness, CELLS * rounds, seed, say):
            effects.append(effect)
            for line in effect.violations:
                say(f"VIOLATED by killing {effect.kill.part}, {effect.kill.state}, {effect.kill.step}: {line}")
    return effects


def bursts(kills: int) -> dict[str, Lost]:
    """The canary's server killed under load, in an installation of its own."""
    with tempfile.TemporaryDirectory(prefix="kilter-faults-") as folder, ExitStack() as stack:
        servers = Installation(Path(folder))
        stack.callback(servers.stop)
        servers.start()
        servers.deploy("champion", 1)
        servers.deploy("canary", 2)
        return {name: kill_under_load(servers, rows, weight, kills) for name, (rows, weight) in BURSTS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="kills of each part in each state (3)")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and of the order (1)")
    parser.add_argument("--burst-kills", type=int, default=10, help="of each kind under load (10)")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kilter-faults-") as folder, ExitStack() as stack:
        world = World(Path(folder), options.rate)
        stack.callback(world.stop)
        world.start()
        first_champion(world, 1)
        effects = campaign(world, options.rounds, options.seed)
    under_load = bursts(options.burst_kills)
    found = grouped(effects)
    show(found)
    show_bursts(under_load)
    totals = {part: summary([effect for effect in effects if effect.kill.part == part]) for part in PARTS}
    document: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "seconds": time.monotonic() - begun,
        "kills": len(effects),
        "violations": sum(len(effect.violations) for effect in effects),
        "median_unserved": {
            part: statistics.median([effect.unserved for effect in effects if effect.kill.part == part])
            for part in PARTS
        },
        "parts": totals,
        "cells": found,
        "bursts": {name: asdict(lost) for name, lost in under_load.items()},
    }
    print(json.dumps(document))
    return 1 if document["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
