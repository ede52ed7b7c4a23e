"""A wrong model.yaml is refused with file, key, value, what is allowed and the cure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from kilter.core.search_space import SPACES, Choice, Range, starting_point
from kilter.encoding import Signature
from kilter.errors import SpecError
from kilter.serving.log_record import Record, Version
from kilter.serving.log_table import to_table
from kilter.spec import CHECKS, RESERVED, Training, load_spec, model_folders
from kilter.step import load_step, step_names
from kilter.stores.features import CREATED

FLIGHTS = Path(__file__).parents[3] / "include" / "models" / "flight_delay"


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the flights' model folder with one change in its model.yaml."""
    content = yaml.safe_load((FLIGHTS / "model.yaml").read_text())
    change(content)
    model = folder / "flight_delay"
    model.mkdir()
    (model / "model.yaml").write_text(yaml.safe_dump(content))
    return model


def refusal(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    model = changed(folder, change)
    with pytest.raises(SpecError) as error:
        load_spec(model)
    assert str(model / "model.yaml") in str(error.value)
    return str(error.value)


def test_the_bundled_model_is_accepted() -> None:
    spec = load_spec(FLIGHTS)
    assert spec.label.delay == timedelta(hours=2)
    assert spec.evaluation.primary == "roc_auc"


def test_the_bundled_models_say_under_which_licence_their_data_is() -> None:
    licences = {folder.name: load_spec(folder).source.licence for folder in model_folders(FLIGHTS.parent)}
    assert licences == {"arrival_delay": "CC0-1.0", "factory_line": "Apache-2.0", "flight_delay": "CC0-1.0"}


def test_a_licence_that_says_nothing_is_refused(tmp_path: Path) -> None:
    assert "source.licence: got ''" in refusal(tmp_path, lambda spec: spec["source"].update(licence=""))


def test_an_unknown_key_is_named_with_the_keys_allowed_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["canary"].update(wieghts=[10, 100]))
    assert "canary.wieghts: unknown key (value [10, 100])" in message
    assert "weights" in message
    assert "remove it or correct its name" in message


def test_an_unknown_key_in_a_list_is_named_with_the_keys_allowed_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["features"]["columns"][0].update(type="float"))
    assert "features.columns.0.type: unknown key" in message
    assert "categories, kind, name" in message


def test_a_wrong_type_is_named_with_its_value(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["training"].update(rounds="many"))
    assert "training.rounds: got 'many'" in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "label: missing; add it" in refusal(tmp_path, lambda spec: spec.pop("label"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda spec: spec["evaluation"].update(slices=["airport"]),
            "evaluation.slices: 'airport' is not allowed; allowed: hour,",
        ),
        (lambda spec: spec["canary"].update(weights=[50, 10, 100]), "weights [50, 10, 100] must rise and end with 100"),
        (lambda spec: spec["canary"].update(weights=[10, 50]), "weights [10, 50] must rise and end with 100"),
        (lambda spec: spec["canary"].update(weights=[100]), "weights [100] must rise and end with 100"),
        (lambda spec: spec["canary"].update(maximum_duration="2h"), "must be below resources.timeout"),
        (
            lambda spec: spec.update(tuning={"time": "30m"}),
            "tuning.time 0:30:00 must be below resources.timeout 0:30:00",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"depth": {"low": 1, "high": 2}}}),
            "tuning.parameters: 'depth' is not allowed; allowed: max_depth, eta,",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"max_depth": {"low": 2.5, "high": 4}}}),
            "tuning.parameters.max_depth: takes whole numbers, not 2.5 to 4.0",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"eta": {"low": 0.2, "high": 0.1}}}),
            "low 0.2 and high 0.1 are no range",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"eta": {"low": 0.2}}}),
            "low 0.2 and high None are no range: give low below high, or choices",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"gamma": {"low": 0, "high": 1, "log": True}}}),
            "low 0.0 has no logarithm",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"eta": {"low": 0, "high": 1, "choices": [0.1]}}}),
            "choices are for themselves",
        ),
        (
            lambda spec: spec.update(tuning={"parameters": {"eta": {"lo": 0}}}),
            "tuning.parameters.eta.lo: unknown key (value 0); allowed here: choices, high, log, low",
        ),
        (
            lambda spec: spec["evaluation"].update(metrics=["rmse"]),
            "evaluation.metrics: 'rmse' is not allowed; allowed: roc_auc",
        ),
        (lambda spec: spec["gate"].update(thresholds={"f1": 0.5}), "gate.thresholds: 'f1' is not allowed"),
        (
            lambda spec: spec["features"]["columns"].append({"name": "late"}),
            "'late' is the label, a time or the entity",
        ),
        (lambda spec: spec["features"]["columns"].append({"name": "hour"}), "features.columns: hour listed twice"),
        (
            lambda spec: spec["features"]["columns"].append({"name": "x", "kind": "categorical"}),
            "feature 'x' is categorical with 0 categories",
        ),
        (lambda spec: spec["source"].update(kind="s3"), "kind s3 needs a bucket"),
        (lambda spec: spec["source"].update(kind="files"), "kind files needs tables.flights.path"),
        (lambda spec: spec["schedule"].update(end="2012-01-01T00:00:00Z"), "is not after start"),
        (lambda spec: spec["resources"].update(fallback="cpu"), "fallback: cpu has no meaning without gpu"),
        (lambda spec: spec["label"].update(delay="soon"), "expected a duration such as 50ms, 90s, 15m, 2h or 3d"),
        (
            lambda spec: spec["schedule"].update(cron="every month"),
            "schedule.cron: cron 'every month': expected five fields",
        ),
        (lambda spec: spec["schedule"].update(cron="@monthly"), "presets such as @daily"),
        (
            lambda spec: spec["schedule"].update(cron="0 24 * * *"),
            "hour '24' is not allowed; allowed are numbers from 0 to 23",
        ),
        (lambda spec: spec["schedule"].update(cron="0 0 31 2 *"), "no month has such a day"),
        (lambda spec: spec["schedule"].update(start=2013), "got 2013, expected a time with its offset"),
        (lambda spec: spec["schedule"].update(start="0001-01-01T00:00:00+14:00"), "outside the years 1 to 9999"),
        (lambda spec: spec["label"].update(delay="99999999999d"), "got 99999999999d, which is longer than"),
        (lambda spec: spec["features"].update(ttl="0d"), "features.ttl: expected a duration above zero"),
        (lambda spec: spec.update(tags=["x" * 101]), "tags.0: got 'xxx"),
        (
            lambda spec: spec["source"]["tables"].update(key={"timestamp": "a", "kye": 1}),
            "source.tables.key.kye: unknown key",
        ),
        (lambda spec: spec["source"].update(environment=["AIRFLOW__CORE__FERNET_KEY"]), "belongs to Airflow, Kilter"),
        (lambda spec: spec["source"].update(environment=["_AIRFLOW_WWW_USER_PASSWORD"]), "belongs to Airflow, Kilter"),
        (lambda spec: spec["source"].update(environment=["KILTER_LEDGER"]), "variable 'KILTER_LEDGER' belongs to"),
        (lambda spec: spec["source"].update(environment=["PATH"]), "variable 'PATH' belongs to"),
        (lambda spec: spec["source"].update(environment=["PYTHONPATH"]), "variable 'PYTHONPATH' belongs to"),
        (lambda spec: spec["source"].update(environment=["LD_PRELOAD"]), "variable 'LD_PRELOAD' belongs to"),
        (lambda spec: spec["source"].update(environment=["HOME"]), "variable 'HOME' belongs to"),
        (lambda spec: spec["training"].update(rounds="400"), "training.rounds: got '400'"),
        (lambda spec: spec["training"].update(rounds=True), "training.rounds: got True"),
        (lambda spec: spec["source"].update(network="yes"), "source.network: got 'yes'"),
        (
            lambda spec: spec["gate"].update(thresholds={"roc_auc": 62}),
            "roc_auc is never 62.0; it lies between 0 and 1",
        ),
        (
            lambda spec: spec["gate"].update(thresholds={"log_loss": -1}),
            "log_loss is never -1.0; it lies between 0 and inf",
        ),
        (lambda spec: spec["gate"].update(thresholds={"roc_auc": float("nan")}), "gate.thresholds.roc_auc: got nan"),
        (lambda spec: spec["resources"].update(memory="0m"), "resources.memory: got '0m'"),
        (lambda spec: spec["resources"].update(memory="5m"), "resources.memory: got '5m'"),
        (
            lambda spec: spec["training"].update(validation_share=0.4, test_share=0.4),
            "leave less than half of the rows",
        ),
        (
            lambda spec: spec["training"].update(parameters={"nthread": 8}),
            "training: parameters: nthread is set by Kilter",
        ),
        (
            lambda spec: spec["training"].update(trainer="torch", parameters={"max_depth": 6}),
            "training: parameters of trainer torch: there is no 'max_depth' (got 6); allowed are width, depth, dropout",
        ),
        (
            lambda spec: spec["training"].update(trainer="torch", parameters={"dropout": 1.5}),
            "parameters of trainer torch: dropout: Input should be less than 1 (got 1.5)",
        ),
        (lambda spec: spec["label"].update(column="flight_id"), "label.column: 'flight_id' is entity already"),
        (lambda spec: spec["label"].update(column="scheduled_departure"), "'scheduled_departure' is timestamp already"),
        (
            lambda spec: spec["label"].update(timestamp="scheduled_departure"),
            "label.timestamp: 'scheduled_departure' is timestamp",
        ),
        (lambda spec: spec["label"].update(column="score"), "label.column: 'score' is a column of the prediction log"),
        (lambda spec: spec["label"].update(column="Hour"), "'hour' is the label, a time or the entity"),
        (lambda spec: spec.update(entity="role"), "entity: 'role' is a column of the prediction log"),
        (
            lambda spec: spec["features"]["columns"].append({"name": "created"}),
            "'created' is a column of the features table",
        ),
        (
            lambda spec: spec["features"]["columns"].append({"name": "event_timestamp"}),
            "'event_timestamp' is the label, a time",
        ),
        (
            lambda spec: spec["features"]["columns"].append({"name": "request_id"}),
            "'request_id' is a column of the prediction",
        ),
        (
            lambda spec: spec.update(serving={"missing": "default"}),
            "serving: missing: nothing is looked up without 'request': add it, or remove this section",
        ),
        (lambda spec: spec.update(serving={"request": ["speed"]}), "serving.request: 'speed' is not allowed"),
        (lambda spec: spec.update(serving={"request": ["hour", "hour"]}), "serving.request: hour listed twice"),
        (
            lambda spec: spec.update(serving={"request": [column["name"] for column in spec["features"]["columns"]]}),
            "serving.request: names every feature, so that nothing is left to look up",
        ),
        (
            lambda spec: spec.update(serving={"request": ["hour"], "timeout": "1m"}),
            "serving: timeout 0:01:00 is more than 0:00:05, for which no client waits: shorten it",
        ),
        (lambda spec: spec.update(task="ranking"), "task: got 'ranking'"),
        (
            lambda spec: spec["label"].update(classes=["no", "yes"]),
            "label.classes: no, yes have no meaning with task: binary: remove them, or say task: multiclass",
        ),
        (
            lambda spec: (
                spec["gate"].update(advisory=[check for check in CHECKS if check != "slices"])
                or spec["evaluation"].pop("slices")
            ),
            "gate.advisory: names every check",
        ),
        (lambda spec: spec.update(name="flights"), "name: 'flights' must equal its folder 'flight_delay'"),
    ],
)
def test_an_impossible_combination_is_told_with_its_cure(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    assert told in refusal(tmp_path, change)


def many_classes(spec: dict[str, Any]) -> None:
    """Make the flights' spec one of three classes."""
    spec["task"] = "multiclass"
    spec["label"]["classes"] = ["early", "late", "lost"]
    spec["evaluation"]["metrics"] = ["accuracy", "macro_f1"]
    spec["gate"]["thresholds"] = {"accuracy": 0.5}


def numbers(spec: dict[str, Any]) -> None:
    """Make the flights' spec a regression."""
    spec["task"] = "regression"
    spec["evaluation"]["metrics"] = ["mae", "r2"]
    spec["gate"].update(thresholds={"mae": 40, "r2": -0.5}, slices={"allowed_regression": 2}, advisory=[])
    spec["gate"]["against_champion"] = {"allowed_regression": 1}
    spec["watch"] = {"allowed_regression": 1}
    spec["drift"]["allowed_decay"] = 2


def test_many_classes_keep_their_order(tmp_path: Path) -> None:
    spec = load_spec(changed(tmp_path, many_classes))
    signature = Signature.of(spec)
    assert (signature.task, signature.classes) == ("multiclass", ("early", "late", "lost"))
    assert spec.checks == CHECKS


def test_a_regression_has_no_check_of_calibration(tmp_path: Path) -> None:
    spec = load_spec(changed(tmp_path, numbers))
    assert spec.checks == tuple(check for check in CHECKS if check != "calibration")
    assert spec.gate.thresholds == {"mae": 40, "r2": -0.5}


@pytest.mark.parametrize(
    ("base", "change", "told"),
    [
        (
            many_classes,
            lambda spec: spec["label"].pop("classes"),
            "label.classes: got 0 of them; task: multiclass lists",
        ),
        (many_classes, lambda spec: spec["label"].update(classes=["late"]), "label.classes: got 1 of them"),
        (many_classes, lambda spec: spec["label"].update(classes=["a", "b", "a"]), "label.classes: a listed twice"),
        (many_classes, lambda spec: spec["label"].update(classes=["a", 1]), "label.classes.1: got 1; "),
        (
            many_classes,
            lambda spec: spec["evaluation"].update(metrics=["roc_auc"]),
            "'roc_auc' is not allowed; allowed: accuracy, log_loss, brier, macro_f1",
        ),
        (
            many_classes,
            lambda spec: spec["training"]["parameters"].update(num_class=3),
            "training: parameters: num_class is set by Kilter",
        ),
        (numbers, lambda spec: spec["label"].update(classes=["a", "b"]), "have no meaning with task: regression"),
        (
            numbers,
            lambda spec: spec["gate"].update(thresholds={"r2": 2}),
            "r2 is never 2.0; it lies between -inf and 1",
        ),
        (numbers, lambda spec: spec["gate"].update(calibration={}), "gate: task: regression has no probabilities"),
        (numbers, lambda spec: spec["gate"].update(advisory=["calibration"]), "and so no check 'calibration'"),
        (
            numbers,
            lambda spec: [spec["gate"].pop("slices"), spec.pop("watch"), spec["drift"].pop("allowed_decay")],
            "watch.allowed_regression, drift.allowed_decay, gate.slices.allowed_regression: mae is in the unit of 'late'",
        ),
        (
            numbers,
            lambda spec: spec["gate"].pop("against_champion"),
            "gate.against_champion.allowed_regression: mae is in the unit of 'late', for which there is no default",
        ),
    ],
)
def test_what_does_not_fit_the_task_is_told_with_its_cure(
    tmp_path: Path, base: Callable[[dict[str, Any]], object], change: Callable[[dict[str, Any]], object], told: str
) -> None:
    assert told in refusal(tmp_path, lambda spec: [base(spec), change(spec)])


def test_a_share_of_the_spread_needs_no_unit(tmp_path: Path) -> None:
    def r2_first(spec: dict[str, Any]) -> None:
        numbers(spec)
        spec["evaluation"]["metrics"] = ["r2", "mae"]
        spec.pop("watch")

    assert load_spec(changed(tmp_path, r2_first)).watch.allowed_regression == 0.01


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    def two(spec: dict[str, Any]) -> None:
        spec["training"]["rounds"] = 0
        spec["drift"]["tresholds"] = 1

    message = refusal(tmp_path, two)
    assert "training.rounds" in message
    assert "drift.tresholds" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"- a\n- b\n", "expected a mapping"),
        (b"a: [", "is not YAML"),
        (b"end: 2014-13-01T00:00:00Z", "month must be in 1..12: correct or quote it"),
        (b"rounds: !!int ''", "holds a value that is none of its type"),
        (b"a: !!timestamp soon", "holds a value that is none of its type"),
        (b"[" * 10_000, "holds a value"),
        (b"name: caf\xe9", "is not UTF-8 text"),
        (b"training: {seed: 1, seed: 2}", "the key 'seed' stands twice: keep one"),
        (b"name: a\nowner: b\nname: c", "the key 'name' stands twice: keep one"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "model.yaml").write_bytes(text)
    with pytest.raises(SpecError, match=told):
        load_spec(tmp_path)


def test_a_merged_mapping_may_override_its_keys(tmp_path: Path) -> None:
    model = changed(tmp_path, lambda spec: spec.pop("canary"))
    with (model / "model.yaml").open("a") as file:
        file.write("canary: {<<: {weights: [20, 100]}, weights: [30, 100]}\n")
    assert load_spec(model).canary.weights == (30, 100)


def test_the_same_instant_with_another_offset_is_the_same_spec(tmp_path: Path) -> None:
    other = load_spec(changed(tmp_path, lambda spec: spec["schedule"].update(start="2013-01-01T02:00:00+02:00")))
    assert other.schedule.start.isoformat() == "2013-01-01T00:00:00+00:00"
    assert other.digest() == load_spec(FLIGHTS).digest()


def test_what_a_request_need_not_carry_is_looked_up_and_by_default_nothing_is(tmp_path: Path) -> None:
    assert load_spec(FLIGHTS).looked_up == ()
    carried = ["visibility", "hour"]
    spec = load_spec(changed(tmp_path, lambda content: content.update(serving={"request": carried})))
    assert spec.looked_up == tuple(name for name in spec.features.names if name not in carried)
    assert (spec.serving.missing, spec.serving.stale) == ("reject", "reject")


def test_a_request_may_carry_the_entity_alone(tmp_path: Path) -> None:
    spec = load_spec(changed(tmp_path, lambda content: content.update(serving={"request": []})))
    assert spec.looked_up == spec.features.names


def test_every_column_of_the_prediction_log_is_reserved() -> None:
    version = Version("champion", "m", 1, "d", "id", "at", (("x", False),))
    record = Record("r", datetime.now(UTC), 1.0, ["e"], None, [0.5], [[0.0]])
    assert set(to_table(version, [record]).column_names) - {"id", "at", "x"} <= set(RESERVED)
    assert CREATED in RESERVED


def test_a_folder_without_a_spec_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert model_folders(tmp_path) == []


def test_a_search_tries_the_trainers_own_ranges_or_those_of_the_spec_and_always_the_values_of_now(
    tmp_path: Path,
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["training"]["parameters"] = {"eta": 0.5, "reg_lambda": 0}
        spec["tuning"] = {"parameters": {"max_depth": {"low": 7, "high": 9}, "gamma": {"choices": [1, 2]}}}

    space = load_spec(changed(tmp_path, change)).search_space()
    own = SPACES["xgboost"]
    assert space["subsample"] == own["subsample"]
    assert space["max_depth"] == Range(7, 9, default=7, integer=True)
    assert space["gamma"] == Choice((1, 2), default=1)
    assert space["eta"] == Range(0.01, 0.5, default=0.3, log=True)
    # Nothing has the logarithm of zero.
    assert space["reg_lambda"] == Range(0, 100, default=1, log=False)
    assert starting_point(space, {"eta": 0.5, "reg_lambda": 0}) == {
        **{name: values.default for name, values in own.items()},
        **{"eta": 0.5, "reg_lambda": 0, "max_depth": 7, "gamma": 1},
    }


@pytest.mark.parametrize(
    ("given", "now", "expected"),
    [
        ({"low": 2, "high": 3}, {}, Range(2, 3, default=3, integer=True)),
        ({"low": 2, "high": 8}, {}, Range(2, 8, default=6, integer=True)),
        ({"low": 2, "high": 3}, {"max_depth": 5}, Range(2, 5, default=3, integer=True)),
        ({"choices": [3, 6]}, {}, Choice((3, 6), default=6)),
        ({"choices": [2, 3]}, {"max_depth": 5}, Choice((2, 3, 5), default=2)),
    ],
)
def test_a_range_of_the_spec_is_widened_by_training_parameters_alone(
    tmp_path: Path, given: dict[str, Any], now: dict[str, Any], expected: Range | Choice
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["training"]["parameters"] = now
        spec["tuning"] = {"parameters": {"max_depth": given}}

    assert load_spec(changed(tmp_path, change)).search_space()["max_depth"] == expected


def test_every_trainer_has_a_search_space_that_holds_its_defaults() -> None:
    for name in get_args(Training.model_fields["trainer"].annotation):
        assert all(values.holds(values.default) for values in SPACES[name].values())


def test_the_digest_depends_only_on_the_sections_asked_for(tmp_path: Path) -> None:
    spec = load_spec(FLIGHTS)
    other = load_spec(changed(tmp_path, lambda content: content["canary"].update(weights=[20, 100])))
    assert spec.digest("training") == other.digest("training")
    assert spec.digest("canary") != other.digest("canary")
    assert spec.digest() != other.digest()


def test_a_return_goes_by_the_last_two_weights_and_compares_no_scores(tmp_path: Path) -> None:
    canary = load_spec(changed(tmp_path, lambda spec: spec["canary"].update(weights=[5, 20, 60, 100]))).canary
    assert canary.of_a_return.weights == (60, 100)
    assert canary.of_a_return.allowed_score_shift is None
    assert canary.of_a_return.allowed_error_rate == canary.allowed_error_rate


@pytest.mark.parametrize("weights", [[30, 100], [100, 50], [50], []])
def test_a_return_takes_only_steps_that_there_are(tmp_path: Path, weights: list[int]) -> None:
    told = refusal(tmp_path, lambda spec: spec["canary"].update(weights=[10, 50, 100], fast={"weights": weights}))
    assert f"fast.weights {weights} must be some of weights [10, 50, 100], rise and end with 100" in told


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({"kind": "smtp", "connection": "mail"}, "smtp needs 'to: [name@example.org]'"),
        ({"kind": "slack", "connection": "chat", "to": ["a@example.org"]}, "kind slack with 1 addresses"),
        ({"kind": "webhook", "connection": "a b"}, "notify.channels.0.connection: got 'a b'"),
        ({"kind": "webhook", "connection": "hook", "events": []}, "notify.channels.0.events"),
        ({"kind": "webhook", "connection": "hook", "events": ["alert", "alert"]}, "alert listed twice"),
        ({"kind": "pager", "connection": "hook"}, "notify.channels.0.kind: got 'pager'"),
        ({"kind": "webhook", "connection": "hook", "url": "https://x"}, "url: unknown key"),
    ],
)
def test_a_channel_that_reaches_nobody_is_refused(tmp_path: Path, channel: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, lambda spec: spec.update(notify={"channels": [channel]}))


def test_who_is_told_changes_no_steps_result(tmp_path: Path) -> None:
    channel = {"kind": "webhook", "connection": "hook"}
    spec = load_spec(changed(tmp_path, lambda content: content.update(notify={"channels": [channel]})))
    assert len(spec.notify.channels[0].events) == 6
    sections = {name for step in step_names() for name in load_step(step).STEP.reads}
    assert "notify" not in sections
