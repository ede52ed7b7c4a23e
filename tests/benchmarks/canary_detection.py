"""How soon bad candidates are rolled back, and what users see of them until then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from canary_alarms import PEERS
from canary_peers import Kayenta, PeerOutcomes, flagger, kayenta
from canary_rollouts import PROMOTED, ROLLED_BACK, SHIPPED, STRICT, TIGHT, UNSHADOWED, Rollouts, Rules
from canary_traffic import BAD, HARMLESS, LATE, Candidate, Service
from gate_alone import console
from rich.table import Table

SERVICES = (Service(20, 0.001), Service(200, 0.001))
RULES = (SHIPPED, TIGHT, STRICT, UNSHADOWED)
WRONG = 0.2
"""Share of the champion's answers that are wrong, where Kayenta is told at once."""
DRAWN = (*(f"Kilter {rules.name}" for rules in RULES), *PEERS, "Kayenta")


def detection(rollouts: int) -> list[dict[str, Any]]:
    """One entry for each rule, service and bad candidate; and Kayenta where labels of answers come at once."""
    found = []
    for service in SERVICES:
        for candidate in (*BAD, LATE):
            found += [_kilter(rules, service, candidate, rollouts) for rules in RULES]
            for name, peer in PEERS.items():
                found.append(_peer(name, service, candidate.name, flagger(5, peer, service, candidate, rollouts)))
            found.append(_peer("Kayenta", service, candidate.name, kayenta(6, Kayenta(), service, candidate, rollouts)))
        for worse in (0.02, 0.05):
            wrong = (WRONG, WRONG + worse)
            judged = kayenta(7, Kayenta(), service, HARMLESS, rollouts, wrong)
            found.append(_peer("Kayenta", service, f"quality -{worse * 100:.0f} points", judged))
    return found


def _kilter(rules: Rules, service: Service, candidate: Candidate, rollouts: int) -> dict[str, Any]:
    ended = Rollouts(rules, service, candidate, rollouts, seed=8).run()
    back = ended.end == ROLLED_BACK
    entry = _entry(f"Kilter {rules.name}", service, candidate.name, back, ended.seconds, ended.exposed)
    return {**entry, "promoted": int((ended.end == PROMOTED).sum()), "answers": _middle(ended.answers[back])}


def _peer(name: str, service: Service, candidate: str, ended: PeerOutcomes) -> dict[str, Any]:
    entry = _entry(name, service, candidate, ended.rolled_back, ended.seconds, ended.exposed)
    return {**entry, "promoted": int((~ended.rolled_back).sum()), "answers": _middle(ended.exposed[ended.rolled_back])}


def _entry(rule: str, service: Service, candidate: str, back: Any, seconds: Any, exposed: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "rate": service.rate,
        "candidate": candidate,
        "rollouts": len(back),
        "caught": int(back.sum()),
        "seconds": _middle(seconds[back]),
        "exposed": _middle(exposed[back]),
        "times": np.sort(seconds[back]).tolist(),
    }


def _middle(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


def show_detection(found: list[dict[str, Any]]) -> None:
    table = Table(title="Bad candidates; medians of those rolled back", title_justify="left")
    for column in ("candidate", "requests/s", "rule"):
        table.add_column(column, no_wrap=True)
    for column in ("rolled back", "promoted", "seconds", "canary's answers", "of users"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        shares = [f"{row[key] / row['rollouts']:.1%}" for key in ("caught", "promoted")]
        middles = ["" if row[key] is None else f"{row[key]:,.0f}" for key in ("seconds", "answers", "exposed")]
        table.add_row(row["candidate"], f"{row['rate']:g}", row["rule"], *shares, *middles)
    console.print(table)


def plot(found: list[dict[str, Any]], file: Path) -> None:
    """Share rolled back against time at 20 requests a second, a panel for each bad candidate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.8), layout="constrained")
    FigureCanvasAgg(figure)
    colours = ("#2563eb", "#10b981", "#1e3a8a", "#60a5fa", "#d97706", "#fbbf24", "#6b7280")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, candidate in zip(panels, (*BAD, LATE), strict=True):
        for rule, colour in zip(DRAWN, colours, strict=True):
            (row,) = (
                row
                for row in found
                if (row["rule"], row["candidate"], row["rate"]) == (rule, candidate.name, SERVICES[0].rate)
            )
            times = [1, *row["times"], 3 * 3600]
            shares = [*np.arange(len(row["times"]) + 1) / row["rollouts"], len(row["times"]) / row["rollouts"]]
            axes.step(times, shares, where="post", color=colour, label=rule, linewidth=1.5)
        axes.set_title(candidate.name, fontsize=10)
        axes.set_xscale("log")
    for axes in panels[3:]:
        axes.set_xlabel("seconds since the rollout began")
    for axes in panels[::3]:
        axes.set_ylabel("share rolled back")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
