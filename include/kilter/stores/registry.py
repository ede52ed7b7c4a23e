"""The model registry and lineage: MLflow.

One MLflow run holds a pipeline run: parameters, metrics, data set, reports, plots and the model.
A model version points at it and carries the lineage as tags. The model itself is loaded from the
object store by digest, never through MLflow.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from kilter.errors import InputError, UnavailableError

TAG_LENGTH = 5000
"""Characters that every MLflow server takes as a version's tag; newer ones take more."""

_TAG = "kilter."
_REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED"})
_DIGEST_LENGTH = 36
"""MLflow cuts nothing and refuses data set digests beyond this length; the full one is a tag."""

_PARENT = "mlflow.parentRunId"
_BATCH = 1000
"""MLflow takes no more metrics in one request."""


class ModelVersion(BaseModel):
    """One version of a model: where its parts are in the object store, and its test metrics."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: int
    key: str
    digest: str
    snapshot: str
    evaluation: str
    run_id: str
    metrics: dict[str, float]


class PipelineRun(BaseModel):
    """What one training pipeline made, ready to be registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    name: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    """Lineage: DAG, run, git commit, code, image, environment, snapshot, predecessor, reason."""
    dataset: str
    """The snapshot's URI."""
    dataset_digest: str
    dataset_rows: int
    key: str
    digest: str
    snapshot: str
    evaluation: str
    curves: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Metrics with a value for each round of the training."""
    run_id: str = ""
    """The run that was begun while training, to go on with; empty for a new one."""


Curves = Mapping[str, Sequence[tuple[int, float]]]
"""Points of each metric: the round, and its value."""
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class ReportRun(BaseModel):
    """A drift report, ready to be shown beside the runs of its model's training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    name: str
    report: str
    """The report's key in the object store: one run for each."""
    tags: dict[str, str]
    metrics: dict[str, float]


class Registry(Protocol):
    """Versions and aliases of models, and the reports on them."""

    def register(self, run: PipelineRun, artifacts: Path) -> ModelVersion:
        """Log a pipeline run with the files below `artifacts` and make a new version of it."""

    def find(self, model: str, digest: str, snapshot: str) -> ModelVersion | None:
        """The version of this model with this model digest and snapshot, if registered."""

    def version(self, model: str, version: int) -> ModelVersion:
        """One version; `InputError` when there is none."""

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions that Kilter registered, oldest first."""

    def tags(self, model: str, version: int) -> dict[str, str]:
        """The lineage tags of a version."""

    def alias(self, model: str, alias: str) -> int | None:
        """The version that an alias points at."""

    def champion(self, model: str) -> int | None:
        """The version with alias `champion`."""

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point an alias at a version."""

    def remove_alias(self, model: str, alias: str) -> None:
        """Remove an alias; does nothing when it is not set."""

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        """Add a tag to a version; longer values than `TAG_LENGTH` may be refused."""

    def attach(self, model: str, version: int, folder: Path) -> None:
        """Add the files below `folder` to the artifacts of a version's run; a file that is there is replaced."""

    def log_report(self, run: ReportRun, artifacts: Path) -> str:
        """Log a drift report with the files below `artifacts`; the same report again is the same run. Returns its id."""

    def begin_run(self, model: str, name: str, tags: Mapping[str, str], parent: str = "") -> str:
        """Begin a run that people may watch while it goes on; return its id.

        Args:
            parent: the run that it is shown under; empty for none.
        """

    def log_progress(self, run_id: str, curves: Curves, parameters: Mapping[str, Any] | None = None) -> None:
        """Add points to the curves of a run, and parameters, each of which has one value for good."""

    def end_run(self, run_id: str, status: RunStatus, artifacts: Path | None = None) -> None:
        """End a run, with the files below `artifacts`."""

    def status(self, run_id: str) -> RunStatus | None:
        """What became of a run; None where there is none of that id, or it was deleted."""


class MlflowRegistry:
    """The registry on an MLflow tracking server.

    Args:
        url: the server, such as `http://127.0.0.1:5500`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # A server that is down must be an error within seconds, not after MLflow's minutes of retries.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        _leave_out_feast()
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(url)

    def register(self, run: PipelineRun, artifacts: Path) -> ModelVersion:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

        with self._faults():
            lineage = {_TAG + key: value for key, value in run.tags.items()}
            made = self._unfinished(run.run_id) or self._client.create_run(
                self._experiment(run.model), run_name=run.name
            )
            identity = made.info.run_id
            self._client.log_batch(
                identity,
                metrics=[Metric(key, value, 0, 0) for key, value in run.metrics.items()],
                params=[Param(key, str(value)) for key, value in run.parameters.items()],
                tags=[RunTag(key, value) for key, value in lineage.items()]
                + [RunTag(_TAG + "dataset_digest", run.dataset_digest)],
            )
            self._log_points(identity, self._not_logged(identity, run.curves))
            dataset = Dataset(
                name=f"{run.model} snapshot",
                digest=run.dataset_digest[:_DIGEST_LENGTH],
                source_type="local" if run.dataset.startswith("file:") else "s3",
                source=json.dumps({"uri": run.dataset}),
                profile=json.dumps({"num_rows": run.dataset_rows}),
            )
            self._client.log_inputs(identity, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
            self._client.log_artifacts(identity, str(artifacts))
            self._model(run.model)
            tags = lineage | {
                _TAG + "key": run.key,
                _TAG + "digest": run.digest,
                _TAG + "snapshot": run.snapshot,
                _TAG + "evaluation": run.evaluation,
                _TAG + "metrics": json.dumps(run.metrics),
            }
            version = self._client.create_model_version(
                run.model, source=f"{made.info.artifact_uri}/model", run_id=identity, tags=tags
            )
            self._client.set_terminated(identity)
        return _model_version(version)

    def find(self, model: str, digest: str, snapshot: str) -> ModelVersion | None:
        same = (item for item in self.versions(model) if (item.digest, item.snapshot) == (digest, snapshot))
        return next(same, None)

    def version(self, model: str, version: int) -> ModelVersion:
        found = self._get(model, version)
        if _TAG + "key" not in found.tags:
            raise InputError(f"model '{model}' version {version} was not registered by Kilter: choose another version")
        return _model_version(found)

    def versions(self, model: str) -> list[ModelVersion]:
        with self._faults():
            found = self._client.search_model_versions(f"name='{model}'")
        ours = (_model_version(item) for item in found if _TAG + "key" in item.tags)
        return sorted(ours, key=lambda item: item.version)

    def tags(self, model: str, version: int) -> dict[str, str]:
        return {key.removeprefix(_TAG): value for key, value in self._get(model, version).tags.items()}

    def alias(self, model: str, alias: str) -> int | None:
        from mlflow.exceptions import MlflowException

        with self._faults():
            try:
                return int(self._client.get_model_version_by_alias(model, alias).version)
            except MlflowException as error:
                if _is_absent(error):
                    return None
                raise

    def champion(self, model: str) -> int | None:
        return self.alias(model, "champion")

    def set_alias(self, model: str, alias: str, version: int) -> None:
        with self._faults():
            self._client.set_registered_model_alias(model, alias, str(version))

    def remove_alias(self, model: str, alias: str) -> None:
        with self._faults():
            self._client.delete_registered_model_alias(model, alias)

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        with self._faults():
            self._client.set_model_version_tag(model, str(version), _TAG + key, value)

    def attach(self, model: str, version: int, folder: Path) -> None:
        identity = self.version(model, version).run_id
        with self._faults():
            self._client.log_artifacts(identity, str(folder))

    def log_report(self, run: ReportRun, artifacts: Path) -> str:
        from mlflow.entities import Metric

        with self._faults():
            experiment = self._experiment(run.model)
            found = self._client.search_runs([experiment], f"tags.`{_TAG}report` = '{run.report}'", max_results=1)
            if found and found[0].info.status == "FINISHED":
                return str(found[0].info.run_id)
            tags = {_TAG + key: value for key, value in {"report": run.report, **run.tags}.items()}
            made = found[0] if found else self._client.create_run(experiment, run_name=run.name, tags=tags)
            identity = str(made.info.run_id)
            self._client.log_batch(identity, metrics=[Metric(key, value, 0, 0) for key, value in run.metrics.items()])
            self._client.log_artifacts(identity, str(artifacts))
            self._client.set_terminated(identity)
        return identity

    def begin_run(self, model: str, name: str, tags: Mapping[str, str], parent: str = "") -> str:
        lineage = {_TAG + key: value for key, value in tags.items()}
        with self._faults():
            made = self._client.create_run(
                self._experiment(model), run_name=name, tags=lineage | ({_PARENT: parent} if parent else {})
            )
        return str(made.info.run_id)

    def log_progress(self, run_id: str, curves: Curves, parameters: Mapping[str, Any] | None = None) -> None:
        from mlflow.entities import Param

        with self._faults():
            if parameters:
                told = [Param(key, str(value)) for key, value in parameters.items()]
                self._client.log_batch(run_id, params=told)
            self._log_points(run_id, curves)

    def end_run(self, run_id: str, status: RunStatus, artifacts: Path | None = None) -> None:
        with self._faults():
            if artifacts is not None:
                self._client.log_artifacts(run_id, str(artifacts))
            self._client.set_terminated(run_id, status)

    def status(self, run_id: str) -> RunStatus | None:
        with self._faults():
            found = self._run(run_id)
        return None if found is None else found.info.status

    def _unfinished(self, run_id: str) -> Any:
        """The run of that id if it has not ended; None without one, and where it was deleted."""
        found = self._run(run_id)
        return found if found is not None and found.info.status == "RUNNING" else None

    def _run(self, run_id: str) -> Any:
        """The run of that id; None without one, and where it was deleted."""
        from mlflow.exceptions import MlflowException

        if not run_id:
            return None
        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if _is_absent(error):
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _not_logged(self, run_id: str, curves: Mapping[str, tuple[float, ...]]) -> Curves:
        """The points that a run's curves lack, as they may have been logged while it went on."""
        there = {key: {point.step for point in self._client.get_metric_history(run_id, key)} for key in curves}
        return {
            key: [(step, value) for step, value in enumerate(curve) if step not in there[key]]
            for key, curve in curves.items()
        }

    def _log_points(self, run_id: str, curves: Curves) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, value, now, step) for key, curve in curves.items() for step, value in curve]
        for first in range(0, len(points), _BATCH):
            self._client.log_batch(run_id, metrics=points[first : first + _BATCH])

    def _get(self, model: str, version: int) -> Any:
        from mlflow.exceptions import MlflowException

        with self._faults():
            try:
                return self._client.get_model_version(model, str(version))
            except MlflowException as error:
                if _is_absent(error):
                    raise _no_version(model, version) from None
                raise

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        return str(found.experiment_id if found else self._client.create_experiment(model))

    def _model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise InputError(f"MLflow at {self.url} refuses this: {error.message}") from error
            raise UnavailableError(
                f"MLflow at {self.url}: {error.message}: is the server up? (KILTER_MLFLOW)"
            ) from error


@dataclass
class LiveRun:
    """A run that was begun to be watched, as the fake keeps it."""

    name: str
    tags: dict[str, str]
    parent: str
    status: RunStatus = "RUNNING"
    parameters: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class MemoryRegistry:
    """The registry in a dictionary: the fake for tests."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ModelVersion]] = {}
        self._tags: dict[tuple[str, int], dict[str, str]] = {}
        self._aliases: dict[tuple[str, str], int] = {}
        self.attached: dict[tuple[str, int], dict[str, bytes]] = {}
        """Files by model and version, then by path."""
        self.runs: dict[str, LiveRun] = {}
        """Those that were begun to be watched, by id."""
        self.reports: dict[str, tuple[ReportRun, dict[str, bytes]]] = {}
        """Reports with their files, by key."""

    def register(self, run: PipelineRun, artifacts: Path) -> ModelVersion:
        known = self._versions.setdefault(run.model, [])
        made = ModelVersion(
            version=len(known) + 1,
            run_id=run.run_id or f"run-{len(known) + 1}",
            **run.model_dump(include={"key", "digest", "snapshot", "evaluation", "metrics"}),
        )
        known.append(made)
        self._tags[run.model, made.version] = dict(run.tags)
        return made

    def find(self, model: str, digest: str, snapshot: str) -> ModelVersion | None:
        same = (item for item in self.versions(model) if (item.digest, item.snapshot) == (digest, snapshot))
        return next(same, None)

    def version(self, model: str, version: int) -> ModelVersion:
        for item in self.versions(model):
            if item.version == version:
                return item
        raise _no_version(model, version)

    def versions(self, model: str) -> list[ModelVersion]:
        return list(self._versions.get(model, []))

    def tags(self, model: str, version: int) -> dict[str, str]:
        return dict(self._tags[model, self.version(model, version).version])

    def alias(self, model: str, alias: str) -> int | None:
        return self._aliases.get((model, alias))

    def champion(self, model: str) -> int | None:
        return self.alias(model, "champion")

    def set_alias(self, model: str, alias: str, version: int) -> None:
        self._aliases[model, alias] = version

    def remove_alias(self, model: str, alias: str) -> None:
        self._aliases.pop((model, alias), None)

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        self._tags[model, self.version(model, version).version][key] = value

    def attach(self, model: str, version: int, folder: Path) -> None:
        self.attached.setdefault((model, self.version(model, version).version), {}).update(_files_below(folder))

    def log_report(self, run: ReportRun, artifacts: Path) -> str:
        self.reports.setdefault(run.report, (run, _files_below(artifacts)))
        return f"report-{list(self.reports).index(run.report) + 1}"

    def begin_run(self, model: str, name: str, tags: Mapping[str, str], parent: str = "") -> str:
        identity = f"live-{len(self.runs) + 1}"
        self.runs[identity] = LiveRun(name, dict(tags), parent)
        return identity

    def log_progress(self, run_id: str, curves: Curves, parameters: Mapping[str, Any] | None = None) -> None:
        run = self.runs[run_id]
        run.parameters |= parameters or {}
        for key, points in curves.items():
            run.curves.setdefault(key, []).extend(points)

    def end_run(self, run_id: str, status: RunStatus, artifacts: Path | None = None) -> None:
        self.runs[run_id].status = status
        self.runs[run_id].files |= _files_below(artifacts) if artifacts is not None else {}

    def status(self, run_id: str) -> RunStatus | None:
        return self.runs[run_id].status if run_id in self.runs else None


def _files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _leave_out_feast() -> None:
    """Keep MLflow's client from loading the plugin that Feast registers with it.

    The plugin sends a Kubernetes pod's own token to whatever tracking server is asked, and its import, seconds long,
    leaves `PROMETHEUS_MULTIPROC_DIR` to every child process. MLflow has no setting to leave a plugin out.
    """
    from mlflow.utils import plugins

    found = plugins.get_entry_points
    plugins.get_entry_points = lambda group: [point for point in found(group) if not point.value.startswith("feast.")]
    try:
        import mlflow.tracking.request_header.registry  # noqa: F401 - loads the plugins, once
    finally:
        plugins.get_entry_points = found


def _model_version(found: Any) -> ModelVersion:
    tags: Mapping[str, str] = found.tags
    return ModelVersion(
        version=int(found.version),
        key=tags[_TAG + "key"],
        digest=tags[_TAG + "digest"],
        snapshot=tags[_TAG + "snapshot"],
        evaluation=tags[_TAG + "evaluation"],
        run_id=str(found.run_id),
        metrics=json.loads(tags[_TAG + "metrics"]),
    )


def _is_absent(error: Any) -> bool:
    # An unknown alias of a known model is INVALID_PARAMETER_VALUE in MLflow 3, an unknown model is not found.
    return error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def _no_version(model: str, version: int) -> InputError:
    return InputError(
        f"model '{model}' has no version {version}: see the registry in MLflow, or run {model}.continuous_training"
    )
