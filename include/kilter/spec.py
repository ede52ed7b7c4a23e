"""`ModelSpec`: a model folder's `model.yaml`, parsed once at the edge into a frozen object.

Unknown keys, wrong types and impossible combinations are refused with a `SpecError` that names
the file, the key, the value, what is allowed and the cure.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from kilter.core.cron import check_cron
from kilter.core.search_space import SPACES, Choice, Range, Space
from kilter.errors import SpecError
from kilter.network_parameters import NetworkParameters

SPEC_FILE = "model.yaml"

Task = Literal["binary", "multiclass", "regression"]

METRICS: dict[Task, dict[str, tuple[float, float]]] = {
    "binary": {
        "roc_auc": (0, 1),
        "average_precision": (0, 1),
        "log_loss": (0, math.inf),
        "brier": (0, 1),
        "accuracy": (0, 1),
    },
    "multiclass": {"accuracy": (0, 1), "log_loss": (0, math.inf), "brier": (0, 2), "macro_f1": (0, 1)},
    "regression": {"mae": (0, math.inf), "rmse": (0, math.inf), "r2": (-math.inf, 1)},
}
"""Metrics that `evaluate` can compute, by task, each with its least and its greatest value."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})

IN_LABEL_UNITS = frozenset({"mae", "rmse"})
"""Metrics of the label's own unit, such as minutes, for which no bound fits every model."""

LABEL_KINDS: dict[Task, str] = {"binary": "int8", "multiclass": "string", "regression": "float64"}
"""The type of the label's column in every table, by a name that Arrow and Ibis share."""

OWN_PARAMETERS: dict[str, frozenset[str]] = {
    "xgboost": frozenset(
        {
            *(
                "objective",
                "eval_metric",
                "num_class",
                "seed",
                "random_state",
                "nthread",
                "n_jobs",
                "device",
                "tree_method",
            ),
            *("num_boost_round", "n_estimators", "early_stopping_rounds"),
        }
    ),
}
"""What a trainer sets itself, from `training` and the machine; torch takes `NetworkParameters` and nothing else."""

RESERVED: dict[str, str] = {
    **dict.fromkeys(
        ("request_id", "logged_at", "role", "model_version", "digest", "score", "latency_ms"),
        "a column of the prediction log",
    ),
    "created": "a column of the features table",
}
"""Column names that Kilter uses itself, and for what."""

CheckName = Literal[
    "thresholds",
    "against_champion",
    "slices",
    "calibration",
    "sanity",
    "prediction_parity",
    "serving_fitness",
    "provenance",
    "holdout_wear",
]
CHECKS: tuple[str, ...] = get_args(CheckName)
"""The gate's checks: each has a file in `kilter.core.gate` and a step `check_<name>`."""

_LONGEST_LOOK_UP = timedelta(seconds=5)
_FAST = timedelta(minutes=2)

_FORBIDDEN_VARIABLES = re.compile(r"_?AIRFLOW.*|KILTER_.*|PATH|PYTHON.*|LD_.*|HOME", re.IGNORECASE)

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> Any:
    """Turn `50ms`, `90s`, `15m`, `2h` or `3d` into a timedelta; leave anything else to pydantic."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        try:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError:
            raise ValueError(f"got {value}, which is longer than time itself is counted: shorten it") from None
    if isinstance(value, timedelta):
        return value
    raise ValueError("expected a duration such as 50ms, 90s, 15m, 2h or 3d")


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("expected a duration above zero")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


def _no_number(value: Any) -> Any:
    """Keep pydantic from reading a year as seconds since 1970."""
    if isinstance(value, int | float) or (isinstance(value, str) and not re.match(r"\d{4}-", value)):
        raise ValueError(f"got {value!r}, expected a time with its offset, such as 2013-01-01T00:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    """The same instant in UTC, so that however it was written it gives equal digests, rows and reports."""
    if value.tzinfo is None:
        raise ValueError(f"got {value.isoformat()}, expected a time with its offset, such as 2013-01-01T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"got {value.isoformat()}, which lies outside the years 1 to 9999 in UTC") from None


def _variable(value: str) -> str:
    if _FORBIDDEN_VARIABLES.fullmatch(value):
        raise ValueError(
            f"variable '{value}' belongs to Airflow, Kilter or the step's process, which no source may have: remove it; "
            "give the source a variable of its own"
        )
    return value


UtcTime = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_utc)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Share = Annotated[Number, Field(ge=0, le=1)]
Tag = Annotated[str, Field(min_length=1, max_length=100, description="Airflow keeps no longer tags")]
Memory = Annotated[
    str, Field(pattern=r"^([1-9]\d*g|[1-9]\d{2,}m)$", description="megabytes, 100m or more, or gigabytes")
]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_variable)]


class Section(BaseModel):
    """Base of every part of the spec: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Section):
    """When intervals are ingested: a cron line, and the time that the data covers."""

    cron: Annotated[str, AfterValidator(check_cron)]
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
    network: Flag = Field(False, description="python: whether the function talks to something over the network")
    environment: tuple[Variable, ...] = Field(
        (), description="python: variables of the Airflow worker that the function gets, such as credentials"
    )
    lookback: Duration = timedelta(0)
    licence: Annotated[
        str | None, Field(min_length=1, description="of the data: an SPDX id such as CC0-1.0, or the terms in words")
    ] = None
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
    """What is predicted: its column, when the outcome became known, and how late it arrives.

    The column holds 0 or 1 (binary), the name of one of the `classes` (multiclass), or a number (regression). A
    multiclass model's scores are probabilities in the order of `classes`.
    """

    column: str
    timestamp: str
    delay: Duration
    classes: tuple[Annotated[str, Field(min_length=1)], ...] = ()


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
    ttl: PositiveDuration
    online: Duration = Field(description="how much event time before the interval's end goes online")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.columns)


class Serving(Section):
    """What a request carries, and what follows where the rest cannot be looked up.

    Features that `request` does not name may be left out of a request; the model server then takes them from the
    online store, by the row's entity. A row of which nothing is online is `missing`, one that is older than
    `features.ttl` at its event time `stale`; a store that fails, or takes longer than `timeout`, counts as missing.
    `reject` refuses the request, `default` scores such a row with these features missing.
    """

    request: Annotated[
        tuple[str, ...] | None, Field(description="features that every request carries; null: all of them")
    ] = None
    missing: Literal["reject", "default"] = "reject"
    stale: Literal["reject", "default"] = "reject"
    timeout: PositiveDuration = timedelta(milliseconds=100)

    @model_validator(mode="after")
    def _only_with_look_ups(self) -> Serving:
        if self.request is None and self.model_fields_set:
            given = ", ".join(sorted(self.model_fields_set))
            raise ValueError(f"{given}: nothing is looked up without 'request': add it, or remove this section")
        if self.timeout > _LONGEST_LOOK_UP:
            raise ValueError(
                f"timeout {self.timeout} is more than {_LONGEST_LOOK_UP}, for which no client waits: shorten it"
            )
        return self


class Training(Section):
    """How a candidate is trained. `rounds` are boosting rounds or epochs; `parameters` go to the trainer as they are."""

    trainer: Literal["xgboost", "torch"]
    window: PositiveDuration | None = Field(None, description="train on this much history; default all of it")
    validation_share: Annotated[Number, Field(gt=0, lt=0.5)] = 0.15
    test_share: Annotated[Number, Field(gt=0, lt=0.5)] = 0.15
    minimum_rows: Annotated[Integer, Field(ge=100)] = 1000
    seed: Annotated[Integer, Field(ge=0, le=2**31 - 1)] = 0
    rounds: Annotated[Integer, Field(ge=1, le=100_000)] = 500
    early_stopping: Annotated[Integer, Field(ge=1)] = 30
    parameters: dict[str, Number | int | str | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_and_parameters(self) -> Training:
        # A little above a half, for sums such as 0.35 + 0.15 in binary fractions.
        if self.validation_share + self.test_share > 0.5 + 1e-9:
            raise ValueError(
                f"validation_share {self.validation_share} + test_share {self.test_share} leave less than half of the "
                "rows to train on: lower them to a sum of 0.5 or less"
            )
        if own := sorted(OWN_PARAMETERS.get(self.trainer, frozenset()) & self.parameters.keys()):
            raise ValueError(
                f"parameters: {', '.join(own)} is set by Kilter: remove it (there are training.seed, training.rounds "
                "and training.early_stopping)"
            )
        if self.trainer == "torch":
            NetworkParameters.parse(self.parameters)
        return self

    def with_parameters(self, given: Mapping[str, float | int | str | bool]) -> Training:
        """The same with these parameters, and its own where none are given."""
        return self.model_copy(update={"parameters": {**self.parameters, **given}})


class Searched(Section):
    """The values of one parameter that a search tries: from `low` to `high`, by ratios with `log`; or one of `choices`."""

    low: Number | None = None
    high: Number | None = None
    log: Flag = False
    choices: tuple[Number | int | str | bool, ...] = ()

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> Searched:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices are for themselves: remove low, high and log, or the choices")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(f"low {self.low} and high {self.high} are no range: give low below high, or choices")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} has no logarithm: raise it above zero, or remove log")
        return self

    def instead_of(self, name: str, own: Range | Choice) -> Range | Choice:
        """What is searched in place of the trainer's own values of this parameter.

        A default that lies outside is replaced: by the nearer end, or by the first of the choices.

        Raises:
            ValueError: it takes whole numbers, and was given others.
        """
        if self.low is None or self.high is None:
            return Choice(self.choices, own.default if own.default in self.choices else self.choices[0])
        integer = isinstance(own, Range) and own.integer
        if integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(
                f"tuning.parameters.{name}: takes whole numbers, not {self.low} to {self.high}: correct low and high"
            )
        default = min(max(float(own.default), self.low), self.high)
        return Range(self.low, self.high, default, self.log, integer)


class Tuning(Section):
    """The search for the trainer's parameters: how much it may cost, when it is made, and what it tries.

    Each trial trains a model; the first one with the parameters of model.yaml. It ends after `trials` of them, or after `time`,
    in which pauses do not count. `every` is in event time. `parameters` replace the trainer's own ranges, one by one.
    """

    trials: Annotated[Integer, Field(ge=1, le=10_000)] = 20
    time: Annotated[PositiveDuration | None, Field(description="null: half of resources.timeout")] = None
    every: Annotated[
        PositiveDuration | None, Field(description="search when the last search is so old; null: only when asked")
    ] = None
    parameters: dict[str, Searched] = Field(default_factory=dict)


class Evaluation(Section):
    """What is measured, overall and for each value of each slice column.

    Rows of one `block` of event time share their fate (the weather, an outage), so they count as one
    observation in every interval; `0s` counts each row by itself.
    """

    metrics: tuple[str, ...] = Field(min_length=1)
    slices: tuple[str, ...] = ()
    block: Duration = timedelta(days=1)

    @property
    def primary(self) -> str:
        """The metric that decides: the first one listed."""
        return self.metrics[0]


class AgainstChampion(Section):
    """Candidate against champion on the same rows: `non_inferior` within a margin, or `better`."""

    require: Literal["non_inferior", "better"] = "non_inferior"
    allowed_regression: Annotated[
        Number, Field(gt=0, description="non_inferior: loss of the primary metric that is still fine")
    ] = 0.01
    minimum_rows: Annotated[Integer, Field(ge=1)] = 500

    @model_validator(mode="after")
    def _margin_of_non_inferior(self) -> AgainstChampion:
        if self.require == "better" and "allowed_regression" in self.model_fields_set:
            raise ValueError(
                f"allowed_regression {self.allowed_regression} has no meaning with require: better, which allows none: "
                "remove one of them"
            )
        return self

    @property
    def margin(self) -> float:
        """The greatest loss that passes."""
        return self.allowed_regression if self.require == "non_inferior" else 0.0


class Slices(Section):
    """Each value of each column of `evaluation.slices`, against the champion or, without one, the naive baseline."""

    allowed_regression: Annotated[Number, Field(ge=0)] = 0.02
    minimum_rows: Annotated[Integer, Field(ge=30, description="a slice with fewer rows is not judged")] = 200


class Calibration(Section):
    """Whether scores are probabilities. `slope` is that of the outcome's log odds over the score's, 1 being right."""

    maximum_error: Annotated[Share, Field(description="expected calibration error")] = 0.05
    slope: tuple[Number, Number] = (0.8, 1.25)

    @model_validator(mode="after")
    def _slope_around_one(self) -> Calibration:
        low, high = self.slope
        if not 0 < low < 1 < high:
            raise ValueError(f"slope {list(self.slope)} must hold 1, such as [0.8, 1.25]")
        return self


class Sanity(Section):
    """What no sane model does. `trusted_features` may alone be nearly as good as the model."""

    leak_share: Annotated[
        Share, Field(gt=0, description="share of the model's gain over the prior that one feature alone may reach")
    ] = 0.9
    trusted_features: tuple[str, ...] = ()


class PredictionParity(Section):
    """Training code, online store and server on the same rows: how far their scores may differ."""

    rows: Annotated[Integer, Field(ge=1)] = 200
    tolerance: Annotated[Number, Field(gt=0, description="of a regression as a share of the largest score")] = 1e-5


class ServingFitness(Section):
    """The real serving image with the candidate, under load; 368 requests or more give the p99 an interval of 95 %."""

    ready_within: PositiveDuration = timedelta(seconds=30)
    rate: Annotated[Number, Field(gt=0, le=10_000, description="requests a second, one row each")] = 50
    duration: PositiveDuration = timedelta(seconds=8)
    p99: PositiveDuration = timedelta(milliseconds=250)
    memory: Memory = "512m"


class HoldoutWear(Section):
    """How often one evaluation window may decide: every decision fits the candidates a little to its rows."""

    maximum_decisions: Annotated[Integer, Field(ge=1)] = 10


class Gate(Section):
    """The checks that a candidate must pass, and what follows when they cannot tell.

    A check named in `advisory` is made and shown, and blocks nothing. `inconclusive` says what follows from
    a blocking check without enough data: `hold` keeps the candidate for more labels; `first_champion` says
    the same of a comparison with a champion that there is not. `approval` asks a person: never, when a
    blocking check is inconclusive, whatever else would follow from that, or always before a promotion.
    """

    confidence: Annotated[Number, Field(ge=0.5, lt=1, description="of every interval, two-sided")] = 0.95
    thresholds: dict[str, Number] = Field(min_length=1)
    against_champion: AgainstChampion = AgainstChampion()
    slices: Slices = Slices()
    calibration: Calibration = Calibration()
    sanity: Sanity = Sanity()
    prediction_parity: PredictionParity = PredictionParity()
    serving_fitness: ServingFitness = ServingFitness()
    holdout_wear: HoldoutWear = HoldoutWear()
    advisory: tuple[CheckName, ...] = ()
    inconclusive: Literal["hold", "approve", "reject"] = "hold"
    first_champion: Literal["hold", "approve", "reject"] = "approve"
    approval: Literal["never", "on_inconclusive", "always"] = "never"
    approval_within: PositiveDuration = timedelta(days=7)

    @model_validator(mode="after")
    def _approval_can_be_asked(self) -> Gate:
        _unique("advisory", self.advisory)
        if (self.approval, self.inconclusive) == ("on_inconclusive", "reject"):
            raise ValueError(
                "approval: on_inconclusive never asks where inconclusive: reject has decided already: "
                "say hold or approve there, or approval: always"
            )
        return self


class FastCanary(Section):
    """How traffic moves to a version that was the champion before and is brought back: in fewer steps, each sooner over.

    It has been judged by the gate, has answered everything once, and its rows are back; so what is asked is whether today's image
    still serves it, to requests as they are today: in the shadow and at each weight errors, refusals and latency count as for any
    candidate. Scores do not, since the champion that they would be compared with is the one that is wrong.
    """

    weights: Annotated[
        tuple[Annotated[Integer, Field(ge=1, le=100)], ...] | None,
        Field(description="some of canary.weights, the last of which is 100; null: the last two"),
    ] = None
    minimum_requests: Annotated[Integer, Field(ge=1, description="of the canary, in the shadow and at each weight")] = (
        200
    )
    maximum_duration: Annotated[
        PositiveDuration | None,
        Field(description="in the shadow and at each weight; null: two minutes, or canary.maximum_duration if shorter"),
    ] = None


class Canary(Section):
    """How traffic moves to a candidate, and how much worse than the champion it may be.

    What is compared may be looked at as often as one likes: a candidate that keeps to what is allowed is rolled back
    with a chance of at most `alpha`, over the whole rollout, the shadow before it included.

    `inconclusive` says what follows when a step's time is up without a clear verdict, or the canary's server stays down:
    `hold` sends all traffic to the champion and keeps the candidate and its evidence for a person to resume or abort.
    `second_rollout` says what a candidate does while another one is under way or not settled yet. With `sticky_header`
    requests with one value of that header go to one version, as long as the weights do not change.
    """

    weights: tuple[Annotated[Integer, Field(ge=1, le=100)], ...] = (5, 25, 50, 100)
    minimum_requests: Annotated[Integer, Field(ge=1, description="of the canary, in the shadow and at each weight")] = (
        500
    )
    maximum_duration: Annotated[PositiveDuration, Field(description="in the shadow and at each weight")] = timedelta(
        minutes=10
    )
    inconclusive: Literal["hold", "roll_back"] = "hold"
    second_rollout: Literal["wait", "supersede"] = "wait"
    sticky_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    alpha: Annotated[Number, Field(gt=0, le=0.2)] = 0.01
    allowed_error_rate: Annotated[
        Number, Field(ge=0, lt=1, description="how much greater the share of errors may be, and that of refusals")
    ] = 0.01
    allowed_latency_ratio: Annotated[Number, Field(ge=1)] = 1.5
    latency_floor: Annotated[Duration, Field(description="an answer within it is never called slow")] = timedelta(0)
    allowed_score_shift: Annotated[
        Number | None,
        Field(
            gt=0, lt=0.5, description="how far P(score above the champion's) may be from 1/2; null: as far as it likes"
        ),
    ] = 0.25
    fast: FastCanary = FastCanary()

    @model_validator(mode="after")
    def _weights_rise_to_all(self) -> Canary:
        rising = all(a < b for a, b in zip(self.weights, self.weights[1:], strict=False))
        if len(self.weights) < 2 or not rising or self.weights[-1] != 100:
            raise ValueError(f"weights {list(self.weights)} must rise and end with 100, such as [10, 50, 100]")
        return self

    @model_validator(mode="after")
    def _fast_takes_steps_that_there_are(self) -> Canary:
        weights = self.fast.weights
        if weights is not None and (weights != tuple(sorted({*weights} & {*self.weights})) or weights[-1:] != (100,)):
            raise ValueError(
                f"fast.weights {list(weights)} must be some of weights {list(self.weights)}, rise and end with 100"
            )
        return self

    @property
    def of_a_return(self) -> Canary:
        """These rules as they are for a version that is brought back."""
        fast = self.fast
        return self.model_copy(
            update={
                "weights": fast.weights or self.weights[-2:],
                "minimum_requests": fast.minimum_requests,
                "maximum_duration": fast.maximum_duration or min(_FAST, self.maximum_duration),
                "allowed_score_shift": None,
            }
        )


class Watch(Section):
    """When labels have told enough of a new champion: it is compared with its predecessor on the same requests.

    Surely worse by more than `allowed_regression` of the primary metric, the predecessor takes over again; surely not, the
    promotion is settled. `unproven` says what follows when labels of `within` (event time) tell neither.
    """

    allowed_regression: Annotated[Number, Field(gt=0)] = 0.01
    minimum_rows: Annotated[Integer, Field(ge=30)] = 500
    within: PositiveDuration = timedelta(days=90)
    unproven: Literal["keep", "roll_back"] = "keep"


class Drift(Section):
    """When a window of live rows counts as drifted or decayed."""

    numeric_method: Literal["wasserstein", "ks", "psi", "jensenshannon"] = "wasserstein"
    categorical_method: Literal["jensenshannon", "psi", "chisquare"] = "jensenshannon"
    threshold: Annotated[Number, Field(gt=0)] = 0.1
    share: Annotated[Share, Field(description="share of drifted columns that makes the window drifted")] = 0.5
    maximum_null_share: Share = 0.5
    minimum_volume: Annotated[
        Share, Field(description="share of a window's usual rows below which it is truncated, and tells nothing")
    ] = 0.5
    maximum_silence: Annotated[
        Share, Field(description="share of a window, at its end, without a row, beyond which it is stale")
    ] = 0.5
    minimum_rows: Annotated[Integer, Field(ge=30)] = 500
    sample: Annotated[Integer, Field(ge=100)] = 20_000
    allowed_decay: Annotated[
        Number, Field(gt=0, description="loss of the primary metric against the version's best that is decay")
    ] = 0.02


class Arbiter(Section):
    """When evidence leads to a training, and what it may cost. All times are event time.

    After `tune_after` rejected versions the next training begins with a search for parameters.
    """

    cooldown: Annotated[Duration, Field(description="one training is earned in each")] = timedelta(days=30)
    saved: Annotated[Integer, Field(ge=1, le=100, description="trainings earned and kept; 1 is a plain cooldown")] = 1
    minimum_new_labels: Annotated[Integer, Field(ge=0)] = 1000
    bring_back: Annotated[Flag, Field(description="whether earlier models may come back without a person's word")] = (
        True
    )
    growth: Annotated[
        Number | None, Field(gt=1, description="labels that grew so many times are worth a training; null: never")
    ] = 2.0
    every: Annotated[
        PositiveDuration | None, Field(description="the schedule: train when the last training is so old; null: never")
    ] = None
    worthwhile: Annotated[
        Number, Field(gt=0, lt=1, description="expected gain of a training, as a share of an uninformed guess's loss")
    ] = 0.02
    tune_after: Annotated[
        Integer | None,
        Field(ge=1, description="versions that the gate rejected in a row since the last search; null: never search"),
    ] = 2
    cost_of_training: Annotated[Number | None, Field(gt=0, description="of one, in any currency")] = None
    cost_of_error: Annotated[
        Number | None,
        Field(gt=0, description="of one answer that an uninformed guess would lose, in the same currency"),
    ] = None

    @model_validator(mode="after")
    def _both_costs(self) -> Arbiter:
        if (self.cost_of_training is None) != (self.cost_of_error is None):
            raise ValueError("cost_of_training and cost_of_error are weighed against each other: give both or none")
        return self


Happening = Literal["retrain_started", "gate_verdict", "rollout_moved", "rolled_back", "inconclusive", "alert"]
HAPPENINGS: tuple[Happening, ...] = get_args(Happening)
"""What somebody may be told of: a retraining began; the gate judged a candidate; traffic or the champion's role moved; a
candidate or champion had to go; too little was known to decide, so a person may have to; a report or decision raised an alarm."""


class Channel(Section):
    """Who is told, and of what: by mail, in Slack, or a webhook. Address and secrets are in an Airflow connection."""

    kind: Literal["smtp", "slack", "webhook"]
    connection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$", description="id of the Airflow connection")]
    to: Annotated[tuple[str, ...], Field(description="smtp: addresses")] = ()
    events: Annotated[tuple[Happening, ...], Field(min_length=1)] = HAPPENINGS

    @model_validator(mode="after")
    def _addresses_of_mail(self) -> Channel:
        if (self.kind == "smtp") != bool(self.to):
            raise ValueError(
                f"kind {self.kind} with {len(self.to)} addresses: smtp needs 'to: [name@example.org]', the others none"
            )
        _unique("events", self.events)
        return self


class Notify(Section):
    """Who is told of what happens to the model; nobody by default."""

    channels: tuple[Channel, ...] = ()


class Resources(Section):
    """Limits of a step's container."""

    cpus: Annotated[Number, Field(gt=0)] = 2
    memory: Memory = "4g"
    pids: Annotated[Integer, Field(ge=16)] = 512
    timeout: PositiveDuration = timedelta(hours=1)
    gpu: Annotated[Integer, Field(ge=0)] = 0
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
    tags: tuple[Tag, ...] = ()
    task: Task
    entity: Name
    timestamp: Name
    schedule: Schedule
    source: Source
    label: Label
    features: Features
    serving: Serving = Serving()
    training: Training
    tuning: Tuning = Tuning()
    evaluation: Evaluation
    gate: Gate
    canary: Canary = Field(default_factory=Canary)
    watch: Watch = Watch()
    drift: Drift = Field(default_factory=Drift)
    arbiter: Arbiter = Arbiter()
    notify: Notify = Notify()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _sections_agree(self) -> ModelSpec:
        names = self.features.names
        _unique("features.columns", names)
        longest = max(self.canary.maximum_duration, self.canary.fast.maximum_duration or self.canary.maximum_duration)
        if longest >= self.resources.timeout:
            raise ValueError(
                f"canary.maximum_duration {longest} must be below resources.timeout "
                f"{self.resources.timeout}, which ends the container that observes: shorten one or raise the other"
            )
        if self.tuning.time is not None and self.tuning.time >= self.resources.timeout:
            raise ValueError(
                f"tuning.time {self.tuning.time} must be below resources.timeout {self.resources.timeout}, which ends the "
                "container that searches: shorten one or raise the other"
            )
        self.search_space()
        self._refuse_columns_of_two_meanings()
        self._refuse_requests_that_carry_all()
        self._refuse_classes_of_another_task()
        _among("evaluation.slices", self.evaluation.slices, names)
        _among("evaluation.metrics", self.evaluation.metrics, METRICS[self.task])
        _among("gate.thresholds", self.gate.thresholds, self.evaluation.metrics)
        _among("gate.sanity.trusted_features", self.gate.sanity.trusted_features, names)
        for metric, bound in self.gate.thresholds.items():
            least, greatest = METRICS[self.task][metric]
            if not least <= bound <= greatest:
                raise ValueError(
                    f"gate.thresholds: {metric} is never {bound}; it lies between {least} and {greatest}: correct the value"
                )
        self._refuse_checks_that_are_not_made()
        self._refuse_defaults_without_a_unit()
        return self

    @property
    def checks(self) -> tuple[str, ...]:
        """The gate's checks of this model, in order.

        `slices` only where `evaluation.slices` names columns; `calibration` only where scores are probabilities.
        """
        left_out = {"slices"} if not self.evaluation.slices else set()
        if self.task == "regression":
            left_out.add("calibration")
        return tuple(check for check in CHECKS if check not in left_out)

    def search_space(self) -> Space:
        """What a search tries: the trainer's own ranges or those of model.yaml, wide enough for `training.parameters`."""
        own, given, now = SPACES[self.training.trainer], self.tuning.parameters, self.training.parameters
        _among("tuning.parameters", given, own)
        found = {name: given[name].instead_of(name, own[name]) if name in given else own[name] for name in own}
        return {name: values.with_value(now[name]) if name in now else values for name, values in found.items()}

    @property
    def looked_up(self) -> tuple[str, ...]:
        """The features that a request may leave out, in their order."""
        carried = self.features.names if self.serving.request is None else self.serving.request
        return tuple(name for name in self.features.names if name not in carried)

    def _refuse_requests_that_carry_all(self) -> None:
        carried = self.serving.request
        if carried is None:
            return
        _unique("serving.request", carried)
        _among("serving.request", carried, self.features.names)
        if not self.looked_up:
            raise ValueError(
                "serving.request: names every feature, so that nothing is left to look up: remove those that are "
                "online, or the section"
            )

    def _refuse_classes_of_another_task(self) -> None:
        classes = self.label.classes
        if self.task != "multiclass":
            if classes:
                raise ValueError(
                    f"label.classes: {', '.join(classes)} have no meaning with task: {self.task}: remove them, or say "
                    "task: multiclass"
                )
            return
        if len(classes) < 2:
            raise ValueError(
                f"label.classes: got {len(classes)} of them; task: multiclass lists two or more, in the order of its scores: "
                f"add them as '{self.label.column}' holds them, such as [good, scrap]"
            )
        _unique("label.classes", classes)

    def _refuse_checks_that_are_not_made(self) -> None:
        if self.task == "regression" and (
            "calibration" in self.gate.advisory or "calibration" in self.gate.model_fields_set
        ):
            raise ValueError("gate: task: regression has no probabilities, and so no check 'calibration': remove it")
        if set(self.checks) <= set(self.gate.advisory):
            raise ValueError("gate.advisory: names every check, so that nothing would ever be refused: leave one out")

    def _refuse_defaults_without_a_unit(self) -> None:
        """A metric such as `mae` is in minutes, or in millions; what is much of it, only the model's owner knows."""
        if self.evaluation.primary not in IN_LABEL_UNITS:
            return
        bounds: dict[str, tuple[Section, str]] = {
            "watch.allowed_regression": (self.watch, "allowed_regression"),
            "drift.allowed_decay": (self.drift, "allowed_decay"),
        }
        if self.gate.against_champion.require == "non_inferior":
            bounds["gate.against_champion.allowed_regression"] = (self.gate.against_champion, "allowed_regression")
        if self.evaluation.slices:
            bounds["gate.slices.allowed_regression"] = (self.gate.slices, "allowed_regression")
        if lacking := [key for key, (section, field) in bounds.items() if field not in section.model_fields_set]:
            raise ValueError(
                f"{', '.join(lacking)}: {self.evaluation.primary} is in the unit of '{self.label.column}', for which there "
                "is no default: say how much of it is allowed"
            )

    def _refuse_columns_of_two_meanings(self) -> None:
        """Column names are compared without case, as DuckDB does."""
        keys = {
            "entity": self.entity,
            "timestamp": self.timestamp,
            "label.column": self.label.column,
            "label.timestamp": self.label.timestamp,
        }
        # Feast calls the event time so in a join, whatever its own name.
        owners = {"event_timestamp": "timestamp"}
        for key, column in keys.items():
            if (owner := owners.setdefault(column.lower(), key)) != key:
                raise ValueError(f"{key}: '{column}' is {owner} already: give each a column of its own")
        for name in self.features.names:
            if name in owners:
                raise ValueError(
                    f"features.columns: '{name}' is the label, a time or the entity, "
                    "which would leak the answer: remove it from the features"
                )
        for key, column in [*keys.items(), *(("features.columns", name) for name in self.features.names)]:
            if reason := RESERVED.get(column.lower()):
                raise ValueError(f"{key}: '{column}' is {reason}: give it another name")

    def digest(self, *sections: str) -> str:
        """SHA-256 of the named sections (all of them when none is named), in canonical JSON."""
        content = self.model_dump(mode="json", include=set(sections) or None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unique(key: str, values: tuple[str, ...]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{key}: {', '.join(twice)} listed twice: keep one")


def _among(key: str, values: Iterable[str], allowed: Collection[str]) -> None:
    for value in values:
        if value not in allowed:
            raise ValueError(f"{key}: '{value}' is not allowed; allowed: {', '.join(allowed)}")


def load_spec(folder: Path) -> ModelSpec:
    """Parse `folder/model.yaml`.

    Raises:
        SpecError: one line for each mistake, with file, key, value, allowed values and cure.
    """
    file = folder / SPEC_FILE
    content = _parse(file)
    if not isinstance(content, dict):
        raise SpecError(f"{file}: expected a mapping of keys, got {type(content).__name__}")
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError("\n".join(_sentences(file, error))) from None
    if spec.name != folder.name:
        raise SpecError(f"{file}: name: '{spec.name}' must equal its folder '{folder.name}': rename one of them")
    return spec


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands twice: keep one", key.start_mark
                )
            seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def _parse(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{file}: cannot be read ({error.strerror}): every model folder needs a {SPEC_FILE}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is not UTF-8 text ({error}): save it as UTF-8") from error
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError(f"{file}: is not YAML: {error}") from error
    except Exception as error:
        # PyYAML lets whatever a value's conversion raises through, such as ValueError of a month 13, and one
        # model's mistake must not end the parsing of all others.
        raise SpecError(f"{file}: holds a value that is none of its type: {error}: correct or quote it") from error


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
            # A table may be named like a key of a table, which holds no section.
            section = _section_in(section.model_fields[part].annotation) or section
    return sorted(section.model_fields)


def _section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as `Canary`, `tuple[Feature, ...]` or `dict[str, Table]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = (_section_in(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in inner if part is not None), None)
