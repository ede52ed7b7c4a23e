"""How many rollouts of candidates that keep to what is allowed are rolled back."""

from __future__ import annotations

from typing import Any

import numpy as np
from canary_peers import Flagger, Kayenta, flagger, kayenta
from canary_rollouts import HELD, PROMOTED, ROLLED_BACK, SHIPPED, STRICT, TIGHT, UNSHADOWED, Rollouts, Rules
from canary_traffic import AT_THE_BOUND, HARMLESS, WITHIN, Candidate, Service
from gate_alarms import wilson
from gate_alone import console
from rich.table import Table

SERVICES = (Service(20, 0.001), Service(200, 0.001), Service(20, 0.01), Service(200, 0.01))
PEERS = {"Flagger, p99 0.5 s": Flagger(), "Flagger, p99 0.2 s": Flagger(p99_seconds=0.2)}
LOW_TRAFFIC = Service(0.05, 0.001)


def alarms(rollouts: int) -> list[dict[str, Any]]:
    """One entry for each rule, service and candidate."""
    found = []
    for service in SERVICES:
        found += [_kilter(rules, service, HARMLESS, rollouts) for rules in (SHIPPED, TIGHT, STRICT, UNSHADOWED)]
        found += [_kilter(SHIPPED, service, candidate, rollouts) for candidate in (WITHIN, AT_THE_BOUND)]
        for name, peer in PEERS.items():
            found.append(_peer(name, service, flagger(1, peer, service, HARMLESS, rollouts).rolled_back))
        found.append(_peer("Kayenta", service, kayenta(2, Kayenta(), service, HARMLESS, rollouts).rolled_back))
    for rules, candidate in ((STRICT, HARMLESS), (SHIPPED, AT_THE_BOUND)):
        found.append(_kilter(rules, SERVICES[0], candidate, rollouts, to_the_deadline=True))
    low = flagger(3, Flagger(), LOW_TRAFFIC, HARMLESS, rollouts)
    return [*found, _peer("Flagger, p99 0.5 s", LOW_TRAFFIC, low.rolled_back)]


def _kilter(
    rules: Rules, service: Service, candidate: Candidate, rollouts: int, to_the_deadline: bool = False
) -> dict[str, Any]:
    ended = Rollouts(rules, service, candidate, rollouts, seed=4).run(to_the_deadline)
    back = ended.end == ROLLED_BACK
    return {
        **_peer(f"Kilter {rules.name}" + ", each step to its deadline" * to_the_deadline, service, back, candidate),
        "held": int((ended.end == HELD).sum()),
        "promoted": int((ended.end == PROMOTED).sum()) if not to_the_deadline else None,
        "seconds": float(np.median(ended.seconds)),
        "exposed": float(np.median(ended.exposed)),
    }


def _peer(name: str, service: Service, rolled_back: Any, candidate: Candidate = HARMLESS) -> dict[str, Any]:
    return {
        "rule": name,
        "rate": service.rate,
        "errors": service.errors,
        "candidate": candidate.name,
        "rollouts": len(rolled_back),
        "rolled_back": int(rolled_back.sum()),
        "interval": wilson(int(rolled_back.sum()), len(rolled_back)),
    }


def show_alarms(found: list[dict[str, Any]]) -> None:
    table = Table(
        title="Rolled back though within what is allowed; stated for Kilter: 1 % at most", title_justify="left"
    )
    for column in ("rule", "requests/s", "errors", "candidate"):
        table.add_column(column, no_wrap=True)
    for column in ("rolled back", "95 % interval", "held", "promoted", "median s"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        low, high = row["interval"]
        shares = [f"{row['rolled_back'] / row['rollouts']:.1%}", f"{low:.1%} … {high:.1%}"]
        rest = [str(row.get(key, "")) for key in ("held", "promoted", "seconds")]
        table.add_row(row["rule"], f"{row['rate']:g}", f"{row['errors']:.1%}", row["candidate"], *shares, *rest)
    console.print(table)
