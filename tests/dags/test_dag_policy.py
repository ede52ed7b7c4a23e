"""What every DAG must have, and that a broken model hides no other. Each failure names the DAG and the cure."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
MODELS = ROOT / "include/models"
STAGES = (
    "backtest",
    "batch_scoring",
    "feature_ingestion",
    "drift_monitoring",
    "drift_response",
    "continuous_training",
    "model_validation",
    "canary_promotion",
    "rollout_control",
    "promotion_watch",
)
HEAVY = (
    "mlflow",
    "feast",
    "evidently",
    "great_expectations",
    "torch",
    "xgboost",
    "boto3",
    "pandas",
    "duckdb",
    "pyarrow",
)


def parse(models: Path, monkeypatch: pytest.MonkeyPatch) -> DagBag:
    """The DAG files as Airflow reads them, for these models."""
    monkeypatch.setenv("KILTER_MODELS", str(models))
    return DagBag(dag_folder=str(DAGS))


@pytest.fixture(scope="module")
def dags() -> Iterator[dict[str, DAG]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        bag = parse(MODELS, monkeypatch)
        assert not bag.import_errors
        yield bag.dags


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with two good copies of the example model."""
    for name in ("flight_delay", "train_delay"):
        copy_model(tmp_path / name)
    return tmp_path


def copy_model(folder: Path, **changes: str) -> None:
    """Copy the example model under another name, with lines of its model.yaml replaced or added."""
    shutil.copytree(MODELS / "flight_delay", folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "model.yaml").read_text().replace("name: flight_delay", f"name: {folder.name}")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    # A lone surrogate stands for a byte that is no UTF-8.
    (folder / "model.yaml").write_text(text, errors="surrogateescape")


def test_every_stage_of_the_loop_is_a_dag_of_every_bundled_model(dags: dict[str, DAG]) -> None:
    models = ("flight_delay", "arrival_delay", "factory_line")
    assert set(dags) == {*(f"{model}.{stage}" for model in models for stage in STAGES), "kilter.reaper"}


def test_every_dag_has_an_owner_who_is_not_airflow(dags: dict[str, DAG]) -> None:
    ownerless = [name for name, dag in dags.items() if dag.owner in ("", "airflow")]
    assert not ownerless, f"{ownerless}: set default_args owner (common() takes it from model.yaml)"


def test_every_dag_of_a_model_has_tags_for_model_and_stage(dags: dict[str, DAG]) -> None:
    for stage in STAGES:
        assert {"kilter", "flight_delay", stage, "flights"} <= set(dags[f"flight_delay.{stage}"].tags)
    assert "kilter" in dags["kilter.reaper"].tags


def test_every_dag_says_what_it_does_when_it_runs_and_what_to_do_when_it_is_red(dags: dict[str, DAG]) -> None:
    for name, dag in dags.items():
        for part in ("**What**", "**When**", "**When red**"):
            assert part in (dag.doc_md or ""), f"{name}: its file's docstring lacks {part}"


def test_every_param_has_a_type_a_title_and_a_description(dags: dict[str, DAG]) -> None:
    for name, dag in dags.items():
        for key, param in dag.params.items():
            found = dag.params.get_param(key)
            assert found.schema.get("type"), f"{name}: Param {key} has no type"
            assert found.schema.get("title"), f"{name}: Param {key} has no title"
            assert found.description, f"{name}: Param {key} has no description (value {param!r})"


def test_every_dag_tries_faults_again_and_never_catches_up_by_itself(dags: dict[str, DAG]) -> None:
    for name, dag in dags.items():
        assert not dag.catchup, f"{name}: set catchup=False; past intervals are for 'airflow backfill'"
        for task in dag.tasks:
            assert task.retries >= 1, f"{name}: {task.task_id} has no retries: set them in default_args"


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)
def test_a_dag_file_is_short_and_imports_no_logic(file: Path) -> None:
    text = file.read_text()
    modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    allowed = ("airflow.sdk", "airflow.providers", "kilter_airflow", "kilter.spec", "datetime")
    strange = {module for module in modules if module and not module.startswith(allowed)}
    assert not strange, f"{file.name} imports {strange}: a DAG file says when, not how"
    assert len(text.splitlines()) <= 85, f"{file.name} is too long to be read aloud: move what is not order elsewhere"


def test_parsing_the_dags_imports_nothing_heavy() -> None:
    code = f"""
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder={str(DAGS)!r})
assert not bag.import_errors and bag.dags, bag.import_errors
print(*sorted(set(sys.modules) & set({HEAVY!r})))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = run.stdout.splitlines()[-1]
    assert imported == "", f"parsing the DAG files imports {imported}: import it where a task runs"


def test_each_model_folder_gives_its_own_dags(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set(parse(models, monkeypatch).dags)
    assert {f"{model}.{stage}" for model in ("flight_delay", "train_delay") for stage in STAGES} < found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "cooldown: ",
            "cooldwon: ",
            ["arbiter.cooldwon", "value '", "allowed here: bring_back, cooldown", "correct its name"],
        ),
        ("seed: 2013", "seed: today", ["training.seed", "'today'", "integer", "correct the value"]),
        ("slices: [origin, carrier]", "slices: [airline]", ["evaluation.slices", "airline", "allowed", "carrier"]),
        ("end: 2014-01-01", "end: 2014-13-01", ["month must be in 1..12", "correct or quote it"]),
        ("seed: 2013", "seed: 2013\n  seed: 2014", ["the key 'seed' stands twice", "keep one"]),
        ('cron: "0 0 1 * *"', "cron: every month", ["schedule.cron", "every month", "five fields", "'0 0 1 * *'"]),
        ("tags: [flights,", f"tags: [{'x' * 101},", ["tags.0", "at most 100 characters", "correct the value"]),
        ("owner: flight-operations", "owner: caf\udce9", ["is not UTF-8", "save it as UTF-8"]),
        ("weights: [10, 50, 100]", "weights: [50, 10]", ["canary", "[50, 10]", "must rise", "[10, 50, 100]"]),
    ],
)
def test_a_mistake_in_a_model_is_an_import_error_and_hides_no_other_model(
    models: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: list[str]
) -> None:
    copy_model(models / "broken", **{old: new})
    bag = parse(models, monkeypatch)
    ((file, error),) = bag.import_errors.items()
    assert file.endswith("check_models.py")
    for word in [str(models / "broken/model.yaml"), *words]:
        assert word in error
    assert not [name for name in bag.dags if name.startswith("broken.")]
    assert len([name for name in bag.dags if name.startswith(("flight_delay.", "train_delay."))]) == 2 * len(STAGES)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 0 29 2 *", "0 6,18 1,15 * *", "0-30/10 8-17 * 1-6 0-6"])
def test_a_cron_line_that_a_model_may_have_is_one_for_airflow(
    models: Path, monkeypatch: pytest.MonkeyPatch, cron: str
) -> None:
    copy_model(models / "other", **{'cron: "0 0 1 * *"': f'cron: "{cron}"'})
    bag = parse(models, monkeypatch)
    assert not bag.import_errors
    bag.dags["other.feature_ingestion"].timetable.validate()


def test_an_empty_models_folder_is_an_import_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bag = parse(tmp_path, monkeypatch)
    assert set(bag.dags) == {"kilter.reaper"}
    assert "KILTER_MODELS" in "".join(bag.import_errors.values())
