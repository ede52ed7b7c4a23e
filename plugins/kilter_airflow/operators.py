"""`StepOperator`: one step of one model as an Airflow task. `StageOperator`: start the model's next DAG."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from kilter.errors import InputError, KilterError, UnavailableError
from kilter.step import Result, RunInfo, code_digest, load_step, parse_inputs, read_result
from kilter.stores.objects import ObjectStore, open_objects
from kilter_airflow.access import access_of
from kilter_airflow.catalogue import spec_of
from kilter_airflow.conditions import Conditional, Fact
from kilter_airflow.job import Ended, StepJob
from kilter_airflow.notifications import notifiers
from kilter_airflow.settings import RuntimeSettings
from kilter_airflow.triggers import RolloutMovedTrigger

if TYPE_CHECKING:
    from kilter_airflow.runtimes.docker import DockerRuntime
    from kilter_airflow.runtimes.process import ProcessRuntime

GPU_POOL = "gpu"
"""Pool of the steps that use GPUs: it has a slot for each GPU, and a step takes as many as it asks for."""
GPU_QUEUE = "gpu"
"""Their Celery queue, which workers on machines with GPUs take from; other executors know no queues."""
GRACE = 3
"""Seconds a killed step gets to end; Airflow kills the task itself after five."""

HELD_POLL = 2.0
"""Seconds between two looks at a rollout that is held."""


class StepOperator(Conditional, DockerOperator):
    """Run a step in its container and push its outputs to XCom, each under its name.

    The container outlives a killed Airflow task and a retry takes it over; a task that is cleared, failed or timed out
    removes it. A memoised step whose result is in the object store already is not run again, unless the DAG has a
    Param `no_cache` that is true.

    Args:
        step: name of the step; may be mapped with `.expand(step=[…])`.
        model: name of the model folder.
        inputs: the step's inputs; templated, and may hold outputs of other tasks.
        each: output that is a list, for a task that is mapped over it by `.expand(…=this.output)`; Airflow maps over a task's
            return value only. The other outputs are then reached by their names, as always.
        tells: outputs that the events of the task's `outlets` carry as their extra.
        only_if: facts of which one must hold, else the task is skipped.
    """

    template_fields: Sequence[str] = ("step", "model", "inputs")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012 - Airflow reads it as it is
    template_ext: Sequence[str] = ()
    ui_color = "#e3f1ee"

    def __init__(
        self,
        *,
        step: str,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        each: str = "",
        tells: Sequence[str] = (),
        only_if: Sequence[Fact] = (),
        **kwargs: Any,
    ) -> None:
        spec = spec_of(model)
        if spec.resources.gpu and load_step(step).STEP.gpu:
            kwargs |= {"pool": GPU_POOL, "pool_slots": spec.resources.gpu, "queue": GPU_QUEUE}
        kwargs.setdefault("execution_timeout", spec.resources.timeout)
        kwargs.setdefault("map_index_template", "{{ task.step }}")
        kwargs.setdefault("multiple_outputs", not each)
        kwargs.setdefault("on_success_callback", notifiers(spec, step))
        super().__init__(
            image="",  # chosen by KILTER_STEP_IMAGE where the task runs
            mount_tmp_dir=False,
            only_if=only_if,
            **kwargs,
        )
        self.step = step
        self.model = model
        # The object that was given: by its id Airflow knows what a mapped value came from, and that it is no template.
        self.inputs = inputs if inputs is not None else {}
        self.each = each
        self.tells = tuple(tells)
        self._runtime: DockerRuntime | ProcessRuntime | None = None

    def execute(self, context: Context) -> Any:
        """Run the step, or take the result that is there; return its outputs, or the one to map over.

        Raises:
            AirflowFailException: the step's input is wrong; it is not tried again.
            AirflowException: anything else went wrong; it is tried again.
        """
        try:
            result = self._result(context)
        except InputError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None
        except KilterError as error:
            raise AirflowException(f"{type(error).__name__}: {error}") from error
        self.log.info(
            "step '%s' took %.1f s on %s, in run %s", self.step, result.seconds, result.device, result.run.run_id
        )
        for outlet in self.outlets if self.tells else ():
            context["outlet_events"][outlet].extra = {name: result.outputs[name] for name in self.tells}
        return self._handed_on(result.outputs, context) if self.each else result.outputs

    def on_kill(self) -> None:
        """End the step and remove its container; called when the task is cleared, failed or timed out."""
        if self._runtime is not None:
            self._runtime.stop(GRACE)

    def _handed_on(self, outputs: dict[str, Any], context: Context) -> Any:
        """The output to map over; the others are pushed here, as Airflow does itself for a return value that is a mapping."""
        for name in outputs.keys() - {self.each}:
            context["ti"].xcom_push(name, outputs[name])
        return outputs[self.each]

    def _result(self, context: Context) -> Result:
        settings = RuntimeSettings.from_environment(os.environ)
        self._runtime = runtime = self._open_runtime(settings)
        job = self._job(context, settings, runtime)
        objects = open_objects(settings.stores.objects)
        ended = runtime.resume(job)
        if ended is None:
            if not context["params"].get("no_cache") and (result := self._committed(objects, job)):
                return result
            ended = runtime.start(job)
        self._raise_fault(ended, job)
        found = read_result(objects, ended.result)
        if found is None:
            raise UnavailableError(
                f"step '{self.step}' ended well, but its result {ended.result} is not in the object store"
            )
        return found

    def _committed(self, objects: ObjectStore, job: StepJob) -> Result | None:
        """The result of an equal earlier run of a memoised step.

        What a step that asks for GPUs gave on the CPU (`resources.fallback`) is none: a GPU may be there today.
        """
        if not job.info.memoised or (result := read_result(objects, job.key)) is None:
            return None
        if job.gpus and result.device == "cpu":
            self.log.info("step '%s' is run again: its result was made without the GPU that it asks for", self.step)
            return None
        self.log.info(
            "step '%s' is not run: %s holds the result of equal inputs, code and image, from run %s of %s "
            "(trigger with no_cache to run it again)",
            job.step, objects.uri(job.key), result.run.run_id, result.run.dag_id,
        )  # fmt: skip
        return result

    def _job(self, context: Context, settings: RuntimeSettings, runtime: DockerRuntime | ProcessRuntime) -> StepJob:
        spec = spec_of(self.model)
        info = load_step(self.step).STEP
        given = json.loads(json.dumps(self.inputs, default=_jsonable))
        task = context["ti"]
        return StepJob(
            step=self.step,
            info=info,
            spec=spec,
            inputs=parse_inputs(self.step, given),
            run=RunInfo(
                dag_id=task.dag_id,
                run_id=task.run_id,
                task_id=task.task_id,
                try_number=task.try_number,
                dag_version=str(task.dag_version_id),
                git_commit=settings.git_commit or task.bundle_instance.version or "",
                image=runtime.image,
            ),
            code=code_digest(settings.stores.models / self.model),
            image=runtime.environment,
            attempt=str(task.id),
            map_index=-1 if task.map_index is None else task.map_index,
            access=access_of(info, spec, settings, os.environ, calls="endpoint" in given, table=given.get("table", "")),
        )

    def _open_runtime(self, settings: RuntimeSettings) -> DockerRuntime | ProcessRuntime:
        if settings.runtime == "process":
            from kilter_airflow.runtimes.process import ProcessRuntime

            return ProcessRuntime(settings, os.environ, self.log)
        from kilter_airflow.runtimes.docker import DockerRuntime, Engine, no_engine

        try:
            client = self.cli
        except AirflowException as error:
            raise no_engine(self.docker_url) from error
        return DockerRuntime(Engine(client), settings, self.log)

    def _raise_fault(self, ended: Ended, job: StepJob) -> None:
        step = f"step '{job.step}' of '{job.spec.name}'"
        if ended.out_of_memory:
            limit = job.spec.resources.memory
            raise AirflowFailException(
                f"{step} went over its memory limit of {limit}: raise resources.memory in model.yaml"
            )
        if ended.code == InputError.exit_code:
            raise AirflowFailException(f"{step}: wrong input, which no retry cures: {ended.sentence}")
        if ended.code == UnavailableError.exit_code:
            raise AirflowException(f"{step}: something did not answer: {ended.sentence}")
        if ended.code:
            raise AirflowException(f"{step} failed with exit code {ended.code}: {ended.sentence}")


class HoldableStepOperator(StepOperator):
    """A step of a rollout that a person may hold. While the rollout is held the task waits without a worker; then the step goes on.

    Its inputs name the `rollout`, and its outputs say whether it is `held`.
    """

    def execute(self, context: Context, event: str | None = None) -> dict[str, Any]:
        """Run the step, again whenever it was held and is not any more; `event` is the state it then has."""
        outputs = super().execute(context)
        if outputs["held"]:
            self.log.warning(
                "held, all traffic is the champion's: %s. Go on with 'kilter rollout resume %s', end it with "
                "'kilter rollout abort %s', or run %s.rollout_control",
                outputs["reason"], self.model, self.model, self.model,
            )  # fmt: skip
            # A task that waits has not succeeded, so that its callbacks are not called.
            for notifier in notifiers(spec_of(self.model), self.step):
                notifier.tell(outputs, context)
            moved = RolloutMovedTrigger(HELD_POLL, rollout=int(self.inputs["rollout"]))
            self.defer(trigger=moved, method_name="execute")
        return outputs


class StageOperator(Conditional, TriggerDagRunOperator):
    """Start another DAG of the same model, once.

    Args:
        model: name of the model.
        stage: the DAG's name after the model's.
        once: run id of the started run; when there is such a run already, this task is skipped.
        conf: Params of the started run, as a mapping or as JSON; templated, and every value in a template becomes
            text, so that a number in one needs the JSON form.
        only_if: facts of which one must hold, else the task is skipped.
        note: shown beside the started run in the UI; templated.
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "note")
    ui_color = "#f3eadb"

    def __init__(
        self,
        *,
        model: str,
        stage: str,
        once: str,
        conf: Mapping[str, Any] | str,
        only_if: Sequence[Fact] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trigger_dag_id=f"{model}.{stage}",
            trigger_run_id=once,
            conf=conf,
            logical_date=None,
            skip_when_already_exists=True,
            only_if=only_if,
            **kwargs,
        )


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else list(value)
