"""How often the gate is wrong, what it catches, and what it costs, beside what is usual.

    .venv/bin/python tests/benchmarks/gate_power.py
    .venv/bin/python tests/benchmarks/gate_power.py --parts alarms --pairs 100

Four parts, each by itself with `--parts`:

- `alarms`: pairs of models trained on resampled data without any true difference. How many does `against_champion`
  fail, and how many the family of slices, where each may fail `(1 - confidence) / 2` of them?
- `power`: pairs with a known true difference, on few rows and on many. How many are caught, beside two plain
  point-threshold gates on the same pairs, each with the one constant that gives it the same false alarms over all row
  counts together, as a team writes one number into a configuration. And beside a point threshold tuned for each row
  count by itself, which nobody can do who does not know the spread of his metric.
- `flights`: models of real flights, of the same data and another seed, compared on the month that follows. How many
  pairs fail when rows count as independent, and how many when the rows of a day count as one?
- `cost`: seconds and memory on 1,000,000 rows, beside a loop of the bootstrap and scipy.stats.bootstrap.

Needs no service. `--plot FILE` writes the power curves as a PNG. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from gate_alarms import alarms, show_alarms
from gate_alone import console
from gate_cost import cost, show_cost
from gate_curves import plot, power, show_power
from gate_flights import seed_pairs, show_seed_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("alarms", "power", "flights", "cost")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--pairs", type=int, default=1000, help="alarms: pairs (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=500, help="power: pairs a cell (default %(default)s)")
    parser.add_argument("--models", type=int, default=8, help="flights: seeds a month (default %(default)s)")
    parser.add_argument("--plot", type=Path, help="power: where to write the curves as PNG")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for part in options.parts:
        begun = time.perf_counter()
        if part == "alarms":
            show_alarms(figures.setdefault(part, alarms(options.pairs)))
        elif part == "power":
            show_power(figures.setdefault(part, power(options.repeats)))
            if options.plot:
                plot(figures[part], options.plot)
        elif part == "flights":
            show_seed_pairs(figures.setdefault(part, seed_pairs(options.models)))
        else:
            show_cost(figures.setdefault(part, cost()))
        console.print(f"{part}: {time.perf_counter() - begun:.0f} s\n", style="dim")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
