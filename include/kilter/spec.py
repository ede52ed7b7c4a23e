"""`ModelSpec`: a model folder's `model.yaml`, parsed once at the edge into a frozen object.

Unknown keys, wrong types and impossible combinations are refused with a `SpecError` that names
the file, the key, the value, what is allowed and the cure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from kilter.errors import SpecError

SPEC_FILE = "model.yaml"

METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "accuracy"),
}
"""Metrics that `evaluate` can compute, by task."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier"})

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> Any:
    """Turn `50ms`, `90s`, `15m`, `2h` or `3d` into a timedelta; leave anything else to pydantic."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError("expected a duration such as 50ms, 90s, 15m, 2h or 3d")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected a time with its offset, such as 2013-01-01T00:00:00Z")
    return value


UtcTime = Annotated[datetime, AfterValidator(_utc)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of every part of the spec: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Section):
    """When intervals are ingested: a cron line, and the time that the data covers."""

    cron: str
    start: UtcTime
    end: UtcTime | None = None

    @model_validator(mode="after")
    def _ends_after_start(self) -> Schedule:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end} is not after start {self.start}: swap them")
        return self


class Table(Section):
    """One table of a batch: its event time column and, if rows are unique, their key."""

    timestamp: str
    key: tuple[str, ...] = ()
    path: str | None = Field(None, description="files and s3 sources: path or key pattern")


class Source(Section):
    """Where raw data comes from: a Python function, local files, or S3 objects."""

    kind: Literal["python", "files", "s3"]
    function: str = Field("extract", description="python: the function in source.py")
    bucket: str | None = Field(None, description="s3: the bucket")
    network: bool = Field(False, description="python: whether the function talks to something over the network")
    environment: tuple[str, ...] = Field(
        (), description="python: variables of the Airflow worker that the function gets, such as credentials"
    )
    lookback: Duration = timedelta(0)
    tables: dict[Name, Table] = Field(min_length=1)

    @model_validator(mode="after")
    def _paths_where_needed(self) -> Source:
        if self.kind == "s3" and not self.bucket:
            raise ValueError("kind s3 needs a bucket: add 'bucket: NAME'")
        if self.kind != "python" and (self.network or self.environment):
            raise ValueError(f"network and environment are for kind python, not {self.kind}: remove them")
        if self.kind != "python":
            for name, table in self.tables.items():
                if not table.path:
                    raise ValueError(f"kind {self.kind} needs tables.{name}.path")
        return self


class Label(Section):
    """What is predicted: its column, when the outcome became known, and how late it arrives."""

    column: str
    timestamp: str
    delay: Duration


class Feature(Section):
    """One model input. A categorical lists its categories; any other value counts as missing."""

    name: Name
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _categories_match_kind(self) -> Feature:
        if (self.kind == "categorical") != bool(self.categories):
            raise ValueError(
                f"feature '{self.name}' is {self.kind} with {len(self.categories)} categories: "
                "a categorical feature lists its categories, a numeric one has none"
            )
        return self


class Features(Section):
    """The feature view: its columns, how long a row stays valid, and what the online store holds."""

    columns: tuple[Feature, ...] = Field(min_length=1)
    ttl: Duration
    online: Duration = Field(description="how much event time before the interval's end goes online")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.columns)


class Training(Section):
    """How a candidate is trained. `parameters` go to the trainer as they are."""

    trainer: Literal["xgboost"]
    window: Duration | None = Field(None, description="train on this much history; default all of it")
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    minimum_rows: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 500
    early_stopping: Annotated[int, Field(ge=1)] = 30
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)


class Evaluation(Section):
    """What `evaluate` measures, overall and for each value of each slice column."""

    metrics: tuple[str, ...] = Field(min_length=1)
    slices: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """The metric that decides: the first one listed."""
        return self.metrics[0]


class AgainstChampion(Section):
    """Candidate against champion on the same rows: how much worse is still allowed."""

    allowed_regression: Annotated[float, Field(ge=0)] = 0.0
    minimum_rows: Annotated[int, Field(ge=1)] = 500


class ServingFitness(Section):
    """A real request to the real serving container."""

    ready_within: Duration = timedelta(seconds=30)
    p99: Duration = timedelta(seconds=1)
    requests: Annotated[int, Field(ge=1)] = 50
    tolerance: Annotated[float, Field(gt=0)] = 1e-5


class Gate(Section):
    """The checks a candidate must pass. `inconclusive`: what a verdict without enough data leads to."""

    thresholds: dict[str, float] = Field(min_length=1)
    against_champion: AgainstChampion = AgainstChampion()
    serving_fitness: ServingFitness = ServingFitness()
    inconclusive: Literal["reject", "approve"] = "reject"
    first_champion: Literal["reject", "approve"] = "approve"


class Canary(Section):
    """How traffic moves to a candidate, and how much worse than the champion it may be."""

    weights: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (10, 50, 100)
    minimum_requests: Annotated[int, Field(ge=1)] = 50
    maximum_duration: Duration = timedelta(minutes=10)
    allowed_error_rate: Share = 0.01
    allowed_latency_ratio: Annotated[float, Field(gt=1)] = 2.0
    latency_floor: Annotated[Duration, Field(description="means below this are never called slow")] = timedelta(0)

    @model_validator(mode="after")
    def _weights_rise_to_all(self) -> Canary:
        rising = all(a < b for a, b in zip(self.weights, self.weights[1:], strict=False))
        if len(self.weights) < 2 or not rising or self.weights[-1] != 100:
            raise ValueError(f"weights {list(self.weights)} must rise and end with 100, such as [10, 50, 100]")
        return self


class Drift(Section):
    """When a window of live rows counts as drifted or decayed."""

    numeric_method: Literal["wasserstein", "ks", "psi", "jensenshannon"] = "wasserstein"
    categorical_method: Literal["jensenshannon", "psi", "chisquare"] = "jensenshannon"
    threshold: Annotated[float, Field(gt=0)] = 0.1
    share: Annotated[Share, Field(description="share of drifted columns that makes the window drifted")] = 0.5
    maximum_null_share: Share = 0.5
    minimum_rows: Annotated[int, Field(ge=30)] = 500
    sample: Annotated[int, Field(ge=100)] = 20_000
    allowed_decay: Annotated[
        float, Field(gt=0, description="loss of the primary metric against the version's best that is decay")
    ] = 0.02


class Arbiter(Section):
    """When evidence leads to a retraining. All times are event time."""

    cooldown: Duration = timedelta(days=30)
    minimum_new_labels: Annotated[int, Field(ge=0)] = 1000


class Resources(Section):
    """Limits of a step's container."""

    cpus: Annotated[float, Field(gt=0)] = 2
    memory: Annotated[str, Field(pattern=r"^\d+[mg]$")] = "4g"
    pids: Annotated[int, Field(ge=16)] = 512
    timeout: Duration = timedelta(hours=1)
    gpu: Annotated[int, Field(ge=0)] = 0
    fallback: Literal["cpu"] | None = None

    @model_validator(mode="after")
    def _fallback_needs_gpu(self) -> Resources:
        if self.fallback and not self.gpu:
            raise ValueError("fallback: cpu has no meaning without gpu: 1; remove one or add the other")
        return self


class ModelSpec(Section):
    """All that Kilter knows of one managed model."""

    name: Name
    description: str
    owner: str
    tags: tuple[str, ...] = ()
    task: Literal["binary"]
    entity: Name
    timestamp: Name
    schedule: Schedule
    source: Source
    label: Label
    features: Features
    training: Training
    evaluation: Evaluation
    gate: Gate
    canary: Canary = Field(default_factory=Canary)
    drift: Drift = Field(default_factory=Drift)
    arbiter: Arbiter = Arbiter()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _sections_agree(self) -> ModelSpec:
        names = self.features.names
        _unique("features.columns", names)
        if self.canary.maximum_duration >= self.resources.timeout:
            raise ValueError(
                f"canary.maximum_duration {self.canary.maximum_duration} must be below resources.timeout "
                f"{self.resources.timeout}, which ends the container that observes: shorten one or raise the other"
            )
        for reserved in (self.label.column, self.label.timestamp, self.entity, self.timestamp):
            if reserved in names:
                raise ValueError(
                    f"features.columns: '{reserved}' is the label, a time or the entity, "
                    "which would leak the answer: remove it from the features"
                )
        _among("evaluation.slices", self.evaluation.slices, names)
        _among("evaluation.metrics", self.evaluation.metrics, METRICS[self.task])
        _among("gate.thresholds", self.gate.thresholds, self.evaluation.metrics)
        return self

    def digest(self, *sections: str) -> str:
        """SHA-256 of the named sections (all of them when none is named), in canonical JSON."""
        content = self.model_dump(mode="json", include=set(sections) or None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unique(key: str, values: tuple[str, ...]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{key}: {', '.join(twice)} listed twice: keep one")


def _among(key: str, values: Iterable[str], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise ValueError(f"{key}: '{value}' is not allowed; allowed: {', '.join(allowed)}")


def load_spec(folder: Path) -> ModelSpec:
    """Parse `folder/model.yaml`.

    Raises:
        SpecError: one line for each mistake, with file, key, value, allowed values and cure.
    """
    file = folder / SPEC_FILE
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise SpecError(f"{file}: cannot be read ({error.strerror}): every model folder needs a {SPEC_FILE}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{file}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SpecError(f"{file}: expected a mapping of keys, got {type(content).__name__}")
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError("\n".join(_sentences(file, error))) from None
    if spec.name != folder.name:
        raise SpecError(f"{file}: name: '{spec.name}' must equal its folder '{folder.name}': rename one of them")
    return spec


def model_folders(models: Path) -> list[Path]:
    """Folders under `models` that hold a managed model, sorted by name."""
    return sorted(path.parent for path in models.glob(f"*/{SPEC_FILE}"))


def _sentences(file: Path, error: ValidationError) -> Iterable[str]:
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "model"
        if item["type"] == "extra_forbidden":
            allowed = ", ".join(_keys_at(item["loc"][:-1]))
            yield f"{file}: {key}: unknown key (value {item['input']!r}); allowed here: {allowed}; remove it or correct its name"
        elif item["type"] == "missing":
            yield f"{file}: {key}: missing; add it"
        elif item["type"] == "value_error":
            where = "" if key == "model" else f"{key}: "
            yield f"{file}: {where}{item['ctx']['error']}"
        else:
            yield f"{file}: {key}: got {item['input']!r}; {item['msg']}; correct the value"


def _keys_at(location: tuple[int | str, ...]) -> Iterable[str]:
    """Keys allowed at a location of the spec, found by walking its sections."""
    section: Any = ModelSpec
    for part in location:
        if isinstance(part, str) and part in getattr(section, "model_fields", {}):
            section = _section_in(section.model_fields[part].annotation)
    return sorted(section.model_fields)


def _section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as `Canary`, `tuple[Feature, ...]` or `dict[str, Table]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = (_section_in(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in inner if part is not None), None)
