"""Check `thresholds`: every metric beyond its bound."""

from __future__ import annotations

from collections.abc import Mapping

from kilter.core.verdict import Judgement, Verdict
from kilter.spec import LOWER_IS_BETTER

NAME = "thresholds"


def judge(metrics: Mapping[str, float], bounds: Mapping[str, float]) -> Judgement:
    """Judge test metrics: at least the bound, or at most where lower is better.

    A metric that was not measured is inconclusive.
    """
    figures = {"metrics": dict(metrics), "bounds": dict(bounds)}
    missing = sorted(bounds.keys() - metrics.keys())
    if missing:
        reason = f"not measured: {', '.join(missing)}"
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    lines = [_compare(name, metrics[name], bound) for name, bound in sorted(bounds.items())]
    verdict = Verdict.PASSED if all(fine for fine, _ in lines) else Verdict.FAILED
    return Judgement(name=NAME, verdict=verdict, reason="; ".join(text for _, text in lines), figures=figures)


def _compare(name: str, value: float, bound: float) -> tuple[bool, str]:
    lower = name in LOWER_IS_BETTER
    fine = value <= bound if lower else value >= bound
    wanted, broken = ("<=", ">") if lower else (">=", "<")
    return fine, f"{name} {value:.4f} {wanted if fine else broken} {bound}"
