"""Judge a candidate: is it good, better than the champion, and fit to serve?

**What**: a serving container with the candidate is started, each check is made as one mapped task, `judge` turns the
judgements into one verdict, and `promote` starts `canary_promotion` when it is *passed*. The container is always removed.

**When**: when `continuous_training` registered a version; by hand with `version`.

**When red**: a check could not be made: MLflow, the object store or the serving container does not answer. See the red
task's log, and clear it together with `start_server` when the check talks to the server.

**When `promote` is skipped**: the verdict is *failed* or *inconclusive*; its arithmetic is in the log of `judge`.
That is no fault: the champion stays.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.catalogue import specs
from kilter_airflow.fleet import NO_CACHE, VERSION_PARAM, common, passed
from kilter_airflow.operators import StageOperator, StepOperator
from kilter_airflow.serving import StartServerOperator, StopServerOperator

CHECKS = ["check_thresholds", "check_against_champion", "check_serving_fitness"]
VERSION = "{{ params.version }}"


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "model_validation", __doc__),
        schedule=None,
        params={"version": VERSION_PARAM, "no_cache": NO_CACHE},
    )
    def model_validation() -> None:
        start = StartServerOperator(task_id="start_server", model=spec.name, version=VERSION)
        stop = StopServerOperator(task_id="stop_server", server="start_server")
        checks = StepOperator.partial(
            task_id="check", model=spec.name, inputs={"version": VERSION, "endpoint": start.output}
        ).expand(step=CHECKS)
        judge = StepOperator(
            task_id="judge",
            step="judge",
            model=spec.name,
            inputs={"version": VERSION, "judgements": checks.output["judgement"]},
        )
        promote = StageOperator(
            task_id="promote",
            model=spec.name,
            stage="canary_promotion",
            once=f"version-{VERSION}",
            conf=f'{{"version": {VERSION}}}',  # JSON, which keeps it a number
            only_if=passed("judge"),
        )

        start >> checks >> [judge, stop.as_teardown(setups=start)]
        judge >> promote

    model_validation()


for spec in specs():
    build(spec)
