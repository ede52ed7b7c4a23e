"""Train a candidate on what is known at one point in event time, all of it or a part, and register it.

**What**: `freeze_dataset` builds the point-in-time training set and freezes it under its digest, `profile` describes it,
`tune` says with which parameters to train, and searches for them where that is due; `train` and `evaluate` make and measure
the model, `register` makes the MLflow version, `validate` starts `model_validation` for it. `end_retraining` always runs at the end, and frees the way for another when nothing was registered.

**When**: when `drift_response` decides so; by hand with `as_of`, better by `drift_response` with `wish`: that keeps the reason.

**When red**: `freeze_dataset`: another retraining is under way; or not enough rows before `as_of`, or features are missing: ingest
the intervals first.
`tune`: its log tells which trials failed and why; clear it, and it goes on with what is left of its budget.
`train` with exit code 137: raise `resources.memory`. `register`: MLflow does not answer. Clear the red task: what was
done before it is reused. The same data, `as_of`, parameters and image give the same model, which is registered once;
without `as_of` it is the end of the newest passed interval, so the same run again trains nothing anew.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import AS_OF, DECISION, NO_CACHE, REASON, RETRAINING, SCOPE, TUNE, asset, common
from kilter_airflow.operators import StageOperator, StepOperator


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "continuous_training", __doc__),
        schedule=None,
        params={
            "as_of": AS_OF,
            "scope": SCOPE,
            "reason": REASON,
            "decision": DECISION,
            "tune": TUNE,
            "no_cache": NO_CACHE,
        },
    )
    def continuous_training() -> None:
        def step(name: str, **inputs: object) -> StepOperator:
            return StepOperator(task_id=name, step=name, model=spec.name, inputs=inputs)

        scope = "{{ params.scope | tojson if params.scope else '' }}"
        freeze = step("freeze_dataset", as_of="{{ params.as_of or '' }}", scope=scope, retraining=RETRAINING)
        snapshot = freeze.output["snapshot"]
        profile = step("profile", snapshot=snapshot)
        tune = step("tune", snapshot=snapshot, search="{{ params.tune }}")
        train = step("train", snapshot=snapshot, parameters=tune.output["parameters"])
        evaluate = step("evaluate", snapshot=snapshot, model=train.output["model"])
        register = StepOperator(
            task_id="register",
            step="register",
            model=spec.name,
            inputs={
                "snapshot": snapshot,
                "profile": profile.output["profile"],
                "model": train.output["model"],
                "evaluation": evaluate.output["evaluation"],
                "device": train.output["device"],
                "run_id": train.output["run_id"],
                "reason": "{{ params.reason }}",
                "retraining": RETRAINING,
                "parameters_of": tune.output["origin"],
            },
            outlets=[asset(spec, "candidate")],
        )
        validate = StageOperator(
            task_id="validate",
            model=spec.name,
            stage="model_validation",
            once="version-{{ ti.xcom_pull('register', key='version') }}",
            conf={"version": register.output["version"]},
        )

        # By its cause and without a setup: it must also run when `freeze_dataset` died.
        end = step("end_retraining", retraining=RETRAINING)

        freeze >> [profile, tune >> train >> evaluate] >> register >> validate >> end.as_teardown()

    continuous_training()


for spec in specs():
    build(spec)
