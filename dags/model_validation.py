"""Judge a candidate: is it good, surely not worse than the champion, and fit to serve?

**What**: `score_holdout` scores candidate and champion on rows that neither learned from; each check is one mapped task, and
those of `check_served` talk to a real server with the candidate. `judge` makes one verdict, for the ledger and MLflow
(`gate/gate_report.html`). `ask` waits for a person where the spec wants one; `promote` starts `canary_promotion`.

**When**: when `continuous_training` registered a version; by hand; and when features of a new interval came: then a
candidate that is *held* is judged again by all labels known now, without training.

**When red**: a check could not be made: MLflow, the object store or the server does not answer. Clear the red task, and
`start_server` with it when the check talks to the server.

**When skipped**: after `choose_candidate`, no candidate is held; `promote` alone, the candidate did not pass or nobody
approved it, as the log of `judge` or `record_approval` says. That is no fault: the champion stays.
"""

from airflow.sdk import dag

from kilter.spec import ModelSpec
from kilter_airflow.approval import AskOperator
from kilter_airflow.catalogue import specs
from kilter_airflow.conditions import Fact
from kilter_airflow.fleet import CANDIDATE, LABELS_BY, NO_CACHE, asset, check_steps, common, waiting_runs
from kilter_airflow.operators import StageOperator, StepOperator
from kilter_airflow.serving import StartServerOperator, StopServerOperator

AS_OF = "{{ params.as_of or '' }}"
VERSION = "{{ ti.xcom_pull('choose_candidate', key='version') }}"


def build(spec: ModelSpec) -> None:
    @dag(
        **common(spec, "model_validation", __doc__) | waiting_runs(spec),
        schedule=[asset(spec, "features")],
        params={"version": CANDIDATE, "as_of": LABELS_BY, "no_cache": NO_CACHE},
    )
    def model_validation() -> None:
        def step(name: str, only_if: tuple[Fact, ...] = (), **inputs: object) -> StepOperator:
            return StepOperator(task_id=name, step=name, model=spec.name, inputs=inputs, only_if=only_if)

        def each(task: str, steps: list[str], **inputs: object) -> StepOperator:
            return StepOperator.partial(task_id=task, model=spec.name, inputs=inputs).expand(step=steps)

        chosen = (Fact("choose_candidate", "chosen", True),)
        choose = step("choose_candidate", version="{{ params.version or '' }}", as_of=AS_OF)
        score = step("score_holdout", only_if=chosen, version=VERSION, as_of=AS_OF)
        holdout = score.output["holdout"]
        start = StartServerOperator(task_id="start_server", model=spec.name, version=VERSION, only_if=chosen)
        stop = StopServerOperator(task_id="stop_server", server="start_server")
        check = each("check", check_steps(spec, served=False), holdout=holdout)
        served = each("check_served", check_steps(spec, served=True), holdout=holdout, endpoint=start.output)
        said = [check.output["judgement"], served.output["judgement"]]
        judge = step("judge", version=VERSION, holdout=holdout, judgements=said)
        ask = AskOperator(task_id="ask", spec=spec, only_if=[Fact("judge", "action", "ask")])
        record = step("record_approval", version=VERSION, holdout=holdout, **ask.answer)
        promote = StageOperator(
            task_id="promote",
            model=spec.name,
            stage="canary_promotion",
            once="validation-{{ run_id }}",  # so that a version that is judged again may also be promoted again
            conf=f'{{"version": {VERSION}}}',  # JSON, which keeps it a number
            only_if=[Fact("judge", "action", "promote"), Fact("record_approval", "approved", True)],
            trigger_rule="none_failed",
        )

        # The checks that time the server come last, when no other needs the machine.
        choose >> score >> check >> served >> [judge, stop.as_teardown(setups=start)]
        choose >> start >> served
        judge >> ask >> record >> promote

    model_validation()


for spec in specs():
    build(spec)
