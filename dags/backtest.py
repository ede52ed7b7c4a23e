"""Replay the model's policy on its recorded history, beside yardsticks that need no judgement.

**What**: `backtest` lives through every ingested interval under the policy of model.yaml, through the arbiter, trainer and gate
of production, and under *never*, *every k windows* and *always*. The table is in its log; table, plot and JSON are below
`backtests/` and in the model's MLflow experiment.

**When**: by hand, before a policy in model.yaml is trusted. To compare several, use `kilter backtest MODEL --policy FILE`.

**When red**: `backtest`: too few intervals were ingested, or MLflow or the object store does not answer. Clear it.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import BACKTEST_PARAMS, common
from kilter_airflow.operators import StepOperator


def build(spec: ModelSpec) -> None:
    @dag(**common(spec, "backtest", __doc__), schedule=None, params=BACKTEST_PARAMS)
    def backtest() -> None:
        StepOperator(
            task_id="backtest",
            step="backtest",
            model=spec.name,
            inputs={
                "first": "{{ params.first or '' }}",
                "last": "{{ params.last or '' }}",
                "every": "{{ params.every }}",
            },
        )

    backtest()


for spec in specs():
    build(spec)
