"""How often the canary rolls back wrongly, and how soon it does so rightly, beside what is usual.

    .venv/bin/python tests/benchmarks/canary_power.py
    .venv/bin/python tests/benchmarks/canary_power.py --parts detection --repeats 50

Five parts, each by itself with `--parts`:

- `alarms`: rollouts of candidates without any difference, or with all that the spec allows.
- `detection`: rollouts of bad candidates: how many are rolled back, when, after how many answers, and how many of them
  went to users.
- `minimum`: how many requests a step should need: time of the harmless, and what turns bad late.
- `quality`: after the promotion, labels day by day: `kilter.core.watch` beside the predecessor.
- `agreement`: rollouts of all sorts, one by one, through `kilter.core.canary` itself: is the verdict the same?

Simulated traffic, many rollouts at a time, judged once a second with the bets of `kilter.core.sequential`, beside a
threshold rule as Flagger's and a test as Kayenta's on traffic of the same laws. Needs no service. `--plot FILE` writes
the detection curves as a PNG. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from canary_agreement import agreement, show_agreement
from canary_alarms import alarms, show_alarms
from canary_detection import detection, plot, show_detection
from canary_labels import quality, show_quality
from canary_minimum import minima, show_minima
from gate_alone import console


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("alarms", "detection", "minimum", "quality", "agreement")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--rollouts", type=int, default=1000, help="without harm, a cell (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=300, help="of bad candidates, a cell (default %(default)s)")
    parser.add_argument("--plot", type=Path, help="detection: where to write the curves as PNG")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for part in options.parts:
        begun = time.perf_counter()
        if part == "alarms":
            show_alarms(figures.setdefault(part, alarms(options.rollouts)))
        elif part == "detection":
            found = detection(options.repeats)
            show_detection(found)
            if options.plot:
                plot(found, options.plot)
            figures[part] = [{key: value for key, value in row.items() if key != "times"} for row in found]
        elif part == "minimum":
            show_minima(figures.setdefault(part, minima(options.rollouts, options.repeats)))
        elif part == "quality":
            show_quality(figures.setdefault(part, quality(options.repeats, options.rollouts)))
        else:
            show_agreement(figures.setdefault(part, agreement()))
        console.print(f"{part}: {time.perf_counter() - begun:.0f} s\n", style="dim")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
