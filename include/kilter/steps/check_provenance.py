"""Gate check: is it known, and was it found good, what the candidate was made of?"""

from __future__ import annotations

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

# Not memoised: a batch may be judged anew at any time.
STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), memoised=False)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge the batches of the candidate's snapshot by the ledger, and its lineage by the registry.

    Raises:
        DataError: the holdout or the snapshot was never committed, or was altered.
        UnavailableError: MLflow or the ledger does not answer.
    """
    from kilter.core.gate.provenance import judge
    from kilter.core.origin import Origin
    from kilter.holdout import Facts
    from kilter.stores.objects import read_manifest

    name = context.spec.name
    facts = Facts.model_validate(read_manifest(context.objects, inputs.holdout).facts)
    snapshot = read_manifest(context.objects, facts.snapshot)
    judgement = judge(
        [Origin.model_validate(origin) for origin in snapshot.facts.get("origins", [])],
        {
            (row["interval_start"], row["digest"]): (row["verdict"], row["reason"])
            for row in context.ledger.batches(name)
        },
        context.registry.tags(name, facts.version),
    )
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)
