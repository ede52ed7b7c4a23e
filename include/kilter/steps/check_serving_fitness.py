"""Gate check: the real serving container with the candidate, asked right, asked wrongly, and put under load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kilter.gate_check import Outputs as Outputs
from kilter.gate_check import ServerInputs as ServerInputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.gate.serving_fitness import Seen
    from kilter.core.verdict import Judgement
    from kilter.encoding import Signature
    from kilter.holdout import Facts
    from kilter.trial import TrialServer

STEP = StepInfo(
    reads=("gate", "features", "task", "label", "entity", "timestamp", "training"),
    memoised=False,
)
Inputs = ServerInputs
_LOAD_ROWS = 1000
"""Rows of the holdout that the load's requests carry, one each, in turn."""


def run(inputs: ServerInputs, context: StepContext) -> Outputs:
    """Wait until the server holds the candidate, measure it, and judge."""
    from kilter.holdout import read_holdout
    from kilter.trial import TrialServer

    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    rows = holdout.frame.sample(min(len(holdout.frame), _LOAD_ROWS), random_state=context.seed)
    with TrialServer(inputs.endpoint, context.spec.name) as server:
        judgement = _judge(server, holdout.facts, rows, context)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _judge(server: TrialServer, facts: Facts, rows: pd.DataFrame, context: StepContext) -> Judgement:
    from kilter.core.gate.serving_fitness import judge, not_ready

    gate = context.spec.gate
    waited = server.wait(facts.digest, gate.serving_fitness.ready_within)
    if not waited.ready:
        return not_ready(waited.listens, waited.last_words, gate)
    return judge(_measure(server, facts.version, rows, context), gate)


def _measure(server: TrialServer, version: int, rows: pd.DataFrame, context: StepContext) -> Seen:
    """Everything up to the point where the server ends, if it does."""
    from kilter.core.gate.serving_fitness import Seen
    from kilter.encoding import Signature
    from kilter.load import offer
    from kilter.trial import GoneError, body_of

    spec, wanted = context.spec, context.spec.gate.serving_fitness
    signature = Signature.of(spec)
    seen: dict[str, Any] = {"ready_after": float("nan")}
    doing = "it told how long it took to be ready"
    try:
        seen["ready_after"] = _ready_after(server.metrics(), spec.name, version)
        doing = "it answered its first requests"
        seen["wrong_answers"] = _wrong_answers(server, version, rows, signature)
        doing = "it was sent malformed requests"
        seen["malformed"] = _malformed(server, rows, context)
        seen["wrong_answers"] += _wrong_answers(server, version, rows, signature, " after malformed requests")
        bodies = [body_of(rows.iloc[[place]], signature.names) for place in range(len(rows))]
        doing = f"it was sent {wanted.rate:g} requests/s"
        load = offer(server.url, bodies, wanted.rate, wanted.duration)
        seen |= {"latencies": tuple(load.latencies), "late": tuple(load.late), "failures": load.failures}
        seen["peak_memory"] = server.metrics().get("kilter_peak_resident_memory_bytes", float("nan"))
    except GoneError as error:
        context.log.info("the server is gone: %s", error)
        seen["ended_while"] = doing
    return Seen(**seen)


def _ready_after(metrics: Mapping[str, float], model: str, version: int) -> float:
    """Seconds from the start of the server's process to the loaded version; NaN where it does not tell."""
    loaded = metrics.get(f'kilter_model_loaded_time_seconds{{model="{model}",version="{version}"}}', float("nan"))
    return loaded - metrics.get("process_start_time_seconds", float("nan"))


def _wrong_answers(
    server: TrialServer, version: int, rows: pd.DataFrame, signature: Signature, when: str = ""
) -> tuple[str, ...]:
    """What is wrong with the answers to one row and to a batch."""
    from kilter.trial import BATCH

    batches = [rows.head(1), rows.head(BATCH)]
    problems = [(len(batch), _problem(server, version, batch, signature)) for batch in batches]
    return tuple(f"the answer to {count} rows{when}: {problem}" for count, problem in problems if problem)


def _problem(server: TrialServer, version: int, rows: pd.DataFrame, signature: Signature) -> str:
    from kilter.trial import SilentError, body_of, scores_of

    try:
        answer = server.post(body_of(rows, signature.names))
        if answer.status_code != 200:
            return f"status {answer.status_code}: {answer.text[:300]}"
        content = answer.json()
        scores_of(content, len(rows), signature)
    except (SilentError, ValueError) as error:
        return str(error)
    if content.get("model_version") != version:
        return f"model_version: got {content.get('model_version')!r}, wanted {version}"
    return "" if content.get("request_id") else "there is no request_id"


def _malformed(server: TrialServer, rows: pd.DataFrame, context: StepContext) -> dict[str, int]:
    """Status by what was wrong with the body; 0 where no answer came."""
    from kilter.malformed import malformed_bodies
    from kilter.trial import SilentError

    first = rows.head(1).astype(object)
    (row,) = first.where(first.notna(), None).to_dict("records")
    found = {}
    for what, body in malformed_bodies(row, context.spec.features).items():
        try:
            found[what] = server.post(body).status_code
        except SilentError:
            found[what] = 0
    return found
