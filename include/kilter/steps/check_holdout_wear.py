"""Gate check: has the evaluation window decided too often already?"""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

# Not memoised: every verdict of the gate adds one to the ledger.
STEP = StepInfo(stores=frozenset({"objects", "ledger"}), reads=("gate",), memoised=False)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge how many other versions the holdout's window has decided on, by the ledger.

    Raises:
        DataError: the holdout was never committed, or was altered.
        UnavailableError: the ledger does not answer.
    """
    from kilter.core.gate.holdout_wear import Decision, judge
    from kilter.holdout import Facts
    from kilter.stores.objects import read_manifest

    spec = context.spec
    facts = Facts.model_validate(read_manifest(context.objects, inputs.holdout).facts)
    approved = {row["holdout"] for row in context.ledger.approvals(spec.name) if row["approved"]}
    decisions = (
        Decision(
            row["version"],
            row["verdict"],
            row["evaluation_start"],
            row["evaluation_end"],
            approved=row["holdout"] in approved,
        )
        for row in context.ledger.verdicts(spec.name)
    )
    judgement = judge(facts.version, facts.start, facts.end, decisions, spec.gate.holdout_wear)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
