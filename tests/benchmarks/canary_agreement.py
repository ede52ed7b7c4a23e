"""Whether the rollouts of this benchmark end as `kilter.core.canary` ends them: same input, same verdict, same look."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from canary_rollouts import HELD, PROMOTED, ROLLED_BACK, SHIPPED, STRICT, TIGHT, Rollouts
from canary_traffic import BAD, HARMLESS, LATE, WITHIN, Arm, Service
from gate_alone import console

from kilter.core import canary
from kilter.core.verdict import Verdict

ROLLOUTS = 20
End = tuple[int, int, int]


class Recorded(Rollouts):
    """One rollout that keeps what came."""

    came: list[tuple[int, Arm, Arm]]

    def traffic(self, rollouts: int, weight: int) -> tuple[Arm, Arm]:
        new, champion = super().traffic(rollouts, weight)
        self.came.append((weight, new, champion))
        return new, champion


def judged(rollout: Recorded) -> tuple[End, list[float]]:
    """How the product ends it: the end, the look, the step; and logarithms of the money against each measure."""
    spec, steps = rollout.rules.spec, rollout.rules.steps
    evidence, verdict = canary.Evidence(steps=len(steps)).begin(spec), Verdict.INCONCLUSIVE
    step = look = 0
    for weight, new, champion in rollout.came:
        if weight != steps[step] and verdict is Verdict.PASSED:
            evidence, step = evidence.begin(spec), step + 1
        elif verdict is not Verdict.INCONCLUSIVE:
            break
        look += 1
        evidence = evidence.after(canary.Look(champion=_arm(champion), canary=_arm(new)), spec)
        verdict = canary.judge(evidence, spec).verdict
    end = {Verdict.FAILED: ROLLED_BACK, Verdict.PASSED: PROMOTED}.get(verdict, HELD)
    return (end, look, step), [evidence.against(name) for name in canary.measures(spec)]


def _arm(arm: Arm) -> canary.Arm:
    """Scores are exponentials of their ranks, as the product takes those below 0 for 0; order alone counts."""
    seconds, scores = (np.exp(column[0].astype(np.float64)) for column in (arm.latencies, arm.scores))
    return canary.Arm(arm.latencies.shape[1], int(arm.errors[0]), int(arm.refused[0]), seconds, scores)


def agreement() -> dict[str, Any]:
    """Candidates and rules in turn, one rollout each."""
    candidates, services = (HARMLESS, *BAD, LATE, WITHIN), (Service(20, 0.001), Service(200, 0.01))
    chosen = list(product(candidates, (SHIPPED, TIGHT, STRICT), services))[::2][:ROLLOUTS]
    equal, apart = 0, 0.0
    for seed, (candidate, rules, service) in enumerate(chosen):
        rollout = Recorded(rules, service, candidate, rollouts=1, seed=seed)
        rollout.came = []
        ended = rollout.run()
        ends, against = judged(rollout)
        equal += ends == (ended.end[0], ended.seconds[0], ended.step[0])
        apart = max(apart, float(np.abs(np.array(against) - ended.blamed[:, 0]).max()))
    return {"rollouts": len(chosen), "equal": equal, "greatest_difference": apart}


def show_agreement(found: dict[str, Any]) -> None:
    console.print(
        f"{found['equal']} of {found['rollouts']} rollouts end as kilter.core.canary ends them, at the same look; "
        f"logarithms of the money differ by {found['greatest_difference']:.1g} at most"
    )
