"""Gate check: real requests to the real serving container that holds the candidate."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import httpx
    import pandas as pd

    from kilter.core.gate.serving_fitness import Measurement

STEP = StepInfo(
    stores=frozenset({"objects", "registry"}), reads=("gate", "features", "training", "label"), memoised=False
)
_TIMEOUT = 10.0


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Wait until the server holds the candidate, send it rows of the test part, and judge its answers."""
    import httpx

    from kilter.core.gate.serving_fitness import judge

    with httpx.Client(base_url=f"{inputs.endpoint}/models/{context.spec.name}", timeout=_TIMEOUT) as server:
        judgement = judge(_measure(server, inputs.version, context), context.spec.gate.serving_fitness)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _measure(server: httpx.Client, version: int, context: StepContext) -> Measurement:
    import numpy as np

    from kilter.core.gate.serving_fitness import Measurement
    from kilter.stores.models import load_model, read_part

    spec = context.spec
    candidate = context.registry.version(spec.name, version)
    ready_after = _wait(server, candidate.digest, spec.gate.serving_fitness.ready_within)
    test = read_part(context.objects, candidate.snapshot, "test")
    rows = test.sample(min(len(test), spec.gate.serving_fitness.requests), random_state=context.seed)
    answers = [_ask(server, row, spec.features.names) for row in _records(rows)] if ready_after is not None else []
    own = load_model(context.objects, candidate.key).score(rows)
    differences = [abs(score - own[i]) for i, (score, _) in enumerate(answers) if score is not None]
    return Measurement(
        ready_after=ready_after,
        requests=len(answers),
        failures=sum(score is None for score, _ in answers),
        p99=timedelta(seconds=float(np.quantile([seconds for _, seconds in answers], 0.99)) if answers else 0),
        difference=float(max(differences, default=0)),
        malformed_status=_malformed(server) if answers else 0,
    )


def _wait(server: httpx.Client, digest: str, within: timedelta) -> timedelta | None:
    """Seconds until `/ready` names the digest; None when it does not in time."""
    import httpx

    started = time.monotonic()
    while (waited := time.monotonic() - started) < within.total_seconds():
        try:
            answer = server.get("/ready")
            if answer.status_code == 200 and answer.json()["digest"] == digest:
                return timedelta(seconds=waited)
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return None


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def _ask(server: httpx.Client, row: dict[str, Any], names: tuple[str, ...]) -> tuple[float | None, float]:
    """Score of one row (None when it was not answered with 200) and the seconds it took."""
    body = {"dataframe_split": {"columns": list(names), "data": [[row[name] for name in names]]}}
    started = time.monotonic()
    answer = server.post("/invocations", json=body)
    seconds = time.monotonic() - started
    return (answer.json()["predictions"][0] if answer.status_code == 200 else None), seconds


def _malformed(server: httpx.Client) -> int:
    return server.post(
        "/invocations", json={"dataframe_split": {"columns": ["no_such_feature"], "data": [["x"]]}}
    ).status_code
