"""How many requests a step should need at least: time of a harmless candidate, and what turns bad late."""

from __future__ import annotations

from typing import Any

import numpy as np
from canary_rollouts import HELD, PROMOTED, ROLLED_BACK, Rollouts, Rules
from canary_traffic import HARMLESS, LATE, LATE_AND_LITTLE, LATE_AND_SLOW, Candidate, Service
from gate_alone import console
from rich.table import Table

from kilter.spec import Canary

MINIMA = (50, 100, 200, 300, 500, 1000)
SERVICES = (Service(20, 0.001), Service(200, 0.001))


def minima(rollouts: int, repeats: int) -> list[dict[str, Any]]:
    """One entry for each minimum, service and candidate."""
    found = []
    for service in SERVICES:
        for least in MINIMA:
            rules = Rules(f"minimum_requests {least}", Canary(minimum_requests=least))
            found.append(_entry(rules, service, HARMLESS, rollouts))
            found += [_entry(rules, service, late, repeats) for late in (LATE, LATE_AND_LITTLE, LATE_AND_SLOW)]
    return found


def _entry(rules: Rules, service: Service, candidate: Candidate, rollouts: int) -> dict[str, Any]:
    ended = Rollouts(rules, service, candidate, rollouts, seed=9).run()
    of_ends = {"rolled_back": ROLLED_BACK, "held": HELD, "promoted": PROMOTED}
    usual = ended.end == (PROMOTED if candidate == HARMLESS else ROLLED_BACK)
    return {
        "minimum": rules.spec.minimum_requests,
        "rate": service.rate,
        "candidate": candidate.name,
        "rollouts": rollouts,
        **{name: int((ended.end == end).sum()) for name, end in of_ends.items()},
        "seconds": float(np.median(ended.seconds[usual])) if usual.any() else None,
        "exposed": float(np.median(ended.exposed[usual])) if usual.any() else None,
    }


def show_minima(found: list[dict[str, Any]]) -> None:
    table = Table(
        title="Medians of the harmless that are promoted, and of the bad that are rolled back", title_justify="left"
    )
    for column in ("candidate", "requests/s", "minimum", "rolled back", "held", "promoted", "seconds", "of users"):
        table.add_column(column, justify="left" if column == "candidate" else "right", no_wrap=True)
    for row in sorted(found, key=lambda row: (row["candidate"], row["rate"])):
        shares = [f"{row[key] / row['rollouts']:.1%}" for key in ("rolled_back", "held", "promoted")]
        middles = ["" if row[key] is None else f"{row[key]:,.0f}" for key in ("seconds", "exposed")]
        table.add_row(row["candidate"], f"{row['rate']:g}", str(row["minimum"]), *shares, *middles)
    console.print(table)
