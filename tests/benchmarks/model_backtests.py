"""The policy of each bundled model on its own history: beside yardsticks, and on `factory_line` beside retraining only.

`factory_line` tells when its recipes change, so that delay and false alarms can be counted. About 5 minutes on two quiet cores.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_histories import history
from rich.console import Console

from kilter.backtest.fits import Fits
from kilter.backtest.history import History
from kilter.backtest.outcome import Outcome, outcome
from kilter.backtest.policies import Arbitrated, Policy, yardsticks
from kilter.backtest.replay import replay
from kilter.backtest.report import table
from kilter.spec import ModelSpec

SWITCHES = {45: "A to B", 75: "B to A", 105: "A to C", 135: "C to A"}
"""Shifts in which `factory_line` begins another recipe: docs/factory-line.md."""
_SOON = 12
"""Shifts after a switch in which an alarm is its own."""


def retrain_only(spec: ModelSpec) -> Arbitrated:
    """The same policy, with nobody brought back."""
    arbiter = spec.arbiter.model_copy(update={"bring_back": False})
    return Arbitrated("retrain only", spec.model_copy(update={"arbiter": arbiter}))


def lived(known: History, policies: list[Policy], folder: Path) -> dict[str, Outcome]:
    """Each policy's outcome, by its name."""
    fits = Fits(known, folder)
    return {policy.name: outcome(replay(policy, fits), fits) for policy in policies}


def switches(found: Outcome) -> dict[str, dict[str, Any]]:
    """For each switch: windows until the first act after it, and the accuracy of the second and third window after it."""
    acts = [step["window"] for step in found.steps if step["made"] is not None or step["outcome"] == "promoted"]
    first = found.steps[0]["window"]
    return {
        name: {
            "delay": next((act - shift for act in acts if shift <= act <= shift + _SOON), None),
            "accuracy_after": found.windows[shift + 1 - first : shift + 3 - first],
        }
        for shift, name in SWITCHES.items()
    }


def alarms_elsewhere(found: Outcome) -> int:
    """Decays that were seen where no recipe had changed lately."""
    seen = [step["window"] for step in found.steps if "quality decayed" in step["reason"] and step["action"] != "wait"]
    return sum(not any(shift <= window <= shift + _SOON for shift in SWITCHES) for window in seen)


def factory(folder: Path) -> dict[str, Any]:
    known = history("factory_line", initial=15)
    policies: list[Policy] = [Arbitrated("kilter", known.spec), retrain_only(known.spec), *yardsticks(15)[:3]]
    found = lived(known, policies, folder)
    Console(width=150).print(table(known, list(found.values())))
    kilter, only = found["kilter"], found["retrain only"]
    print(f"blind rows: {kilter.blind_rows:,} beside {only.blind_rows:,} of retraining only")
    for name, item in switches(kilter).items():
        print(f"{name}: first act {item['delay']} shifts after the switch; accuracy in the two shifts after its first "
              f"{', '.join(f'{value:.2f}' for value in item['accuracy_after'])}")  # fmt: skip
    return {
        "quality": {name: item.quality for name, item in found.items()},
        "trainings": {name: item.trainings for name, item in found.items()},
        "blind_rows": {name: item.blind_rows for name, item in found.items()},
        "switches": switches(kilter),
        "decays_elsewhere": alarms_elsewhere(kilter),
    }


def flights(folder: Path) -> dict[str, Any]:
    known = history("flight_delay", initial=2)
    found = lived(known, [Arbitrated("kilter", known.spec), *yardsticks(2)], folder)
    Console(width=150).print(table(known, list(found.values())))
    return {
        "quality": {name: item.quality for name, item in found.items()},
        "trainings": {name: item.trainings for name, item in found.items()},
    }


def main() -> None:
    chosen = sys.argv[1:] or ["factory_line", "flight_delay"]
    with TemporaryDirectory() as folder:
        runs = {"factory_line": factory, "flight_delay": flights}
        found = {name: runs[name](Path(folder)) for name in chosen}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
