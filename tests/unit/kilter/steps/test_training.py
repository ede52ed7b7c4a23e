"""freeze_dataset → profile, train, evaluate → register, on rides whose length follows from fare and zone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kilter.devices import choose_device
from kilter.errors import DataError, InputError
from kilter.spec import ModelSpec, load_spec
from kilter.step import StepContext, Stores, load_step, parse_inputs, step_names
from kilter.steps import train
from kilter.stores.checkpoints import ObjectCheckpoints
from kilter.stores.models import load_model, read_part
from kilter.stores.objects import read_manifest
from kilter.trainers.checkpoints import Checkpoint


def test_the_same_snapshot_parameters_and_seed_give_equal_bytes(rides: Any, snapshot: str) -> None:
    first = rides.run("train", snapshot=snapshot)
    path = rides.objects.root / first["model"] / "model.ubj"
    before = path.read_bytes()
    path.unlink()
    (path.parent / "manifest.json").unlink()
    again = rides.run("train", snapshot=snapshot)
    assert [again[name] for name in ("model", "digest", "rounds")] == [
        first[name] for name in ("model", "digest", "rounds")
    ]
    assert path.read_bytes() == before


def test_every_section_that_a_memoised_step_reads_is_in_its_key(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("[roc_auc],", "[roc_auc], slices: [zone],"))
    spec = load_spec(rides.folder)
    read: set[str] = set()

    class Recording(ModelSpec):
        def __getattribute__(self, name: str) -> Any:
            if name in ModelSpec.model_fields:
                read.add(name)
            return super().__getattribute__(name)

    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    holdout = rides.act("score_holdout", version=rides.candidate(snapshot)).holdout
    inputs: dict[str, Any] = {"snapshot": snapshot, "holdout": holdout}
    memoised = {name for name in step_names() if load_step(name).STEP.memoised}
    checks = ("thresholds", "against_champion", "slices", "calibration", "sanity")
    for name in ("train", "profile", "evaluate", *(f"check_{check}" for check in checks)):
        info = load_step(name).STEP
        recording = Recording.model_construct(**{field: getattr(spec, field) for field in ModelSpec.model_fields})
        read.clear()
        context = StepContext(recording, rides.folder, Stores(rides.settings, spec), info)
        choose_device(recording, info.gpu, context.log)
        taken = {key: value for key, value in inputs.items() if key in load_step(name).Inputs.model_fields}
        inputs |= load_step(name).run(parse_inputs(name, taken), context).model_dump()
        assert read - {"name", "task"} == set(info.reads), f"{name}: correct STEP.reads; name and task are in every key"
        memoised.remove(name)
    assert not memoised, "run these here too"


def test_a_checkpoint_outlives_other_resources_and_no_other_training(rides: Any) -> None:
    inputs = train.Inputs(snapshot="s")

    def checkpoints() -> ObjectCheckpoints:
        return train._checkpoints(inputs, rides.context("train"))

    checkpoints().save(Checkpoint({"weights": np.zeros(2, np.float32)}, {"epoch": 1}))
    rides.change_spec(lambda text: text + "resources: {memory: 3g}\n")
    assert load_spec(rides.folder).resources.memory == "3g"
    found = checkpoints().load()
    assert found is not None
    assert found.facts["epoch"] == 1
    rides.change_spec(lambda text: text.replace("{trainer: xgboost,", "{trainer: xgboost, rounds: 10,"))
    assert checkpoints().load() is None


def test_another_seed_gives_another_model(rides: Any, snapshot: str) -> None:
    subsample = {"subsample": 0.5}
    first = rides.run("train", snapshot=snapshot, parameters=subsample)
    rides.change_spec(lambda text: text.replace("trainer: xgboost,", "trainer: xgboost, seed: 7,"))
    assert rides.run("train", snapshot=snapshot, parameters=subsample)["digest"] != first["digest"]


def test_a_parameter_that_kilter_sets_itself_is_refused(rides: Any, snapshot: str) -> None:
    with pytest.raises(InputError, match=r"training.parameters: nthread is set by Kilter"):
        rides.run("train", snapshot=snapshot, parameters={"nthread": 8})


def test_a_value_that_xgboost_refuses_is_an_input_error(rides: Any, snapshot: str) -> None:
    with pytest.raises(InputError, match=r"XGBoost refused the training.*training.parameters"):
        rides.run("train", snapshot=snapshot, parameters={"max_depth": -3})


def test_a_snapshot_that_was_altered_is_refused(rides: Any, snapshot: str) -> None:
    path = rides.objects.root / snapshot / "train.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="was altered"):
        rides.run("train", snapshot=snapshot)


def test_a_snapshot_that_was_never_committed_is_refused(rides: Any) -> None:
    with pytest.raises(DataError, match="never committed"):
        rides.run("train", snapshot="snapshots/rides/none")


def test_an_altered_model_is_not_loaded(rides: Any, snapshot: str) -> None:
    model = rides.run("train", snapshot=snapshot)["model"]
    path = rides.objects.root / model / "model.ubj"
    path.write_bytes(b"{}" + path.read_bytes())
    with pytest.raises(DataError, match="was altered"):
        load_model(rides.objects, model)


def test_the_evaluation_measures_the_part_that_no_training_saw(rides: Any, snapshot: str) -> None:
    model = rides.run("train", snapshot=snapshot)["model"]
    outputs = rides.run("evaluate", snapshot=snapshot, model=model)
    evaluation = json.loads(rides.objects.get(f"{outputs['evaluation']}/evaluation.json"))
    test = read_part(rides.objects, snapshot, "test")
    assert evaluation["rows"] == len(test)
    assert test.started_at.min() > read_part(rides.objects, snapshot, "validation").started_at.max()
    assert 0.8 < outputs["metrics"]["roc_auc"] < 1
    assert evaluation["importance"]["fare"] > 0.5
    for plot in ("roc.png", "calibration.png", "importance.png"):
        assert rides.objects.get(f"{outputs['evaluation']}/{plot}").startswith(b"\x89PNG")


def test_slices_of_the_spec_are_measured(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("{metrics: [roc_auc],", "{metrics: [roc_auc], slices: [zone],"))
    model = rides.run("train", snapshot=snapshot)["model"]
    outputs = rides.run("evaluate", snapshot=snapshot, model=model)
    evaluation = json.loads(rides.objects.get(f"{outputs['evaluation']}/evaluation.json"))
    slices = evaluation["slices"]["zone"]
    assert slices.keys() == {"north", "south"}
    assert sum(figures["rows"] for figures in slices.values()) == evaluation["rows"]


def test_the_profile_is_a_page_that_names_the_columns(rides: Any, snapshot: str) -> None:
    page = rides.objects.get(f"{rides.run('profile', snapshot=snapshot)['profile']}/profile.html").decode()
    assert "<html" in page
    for column in ("fare", "zone"):
        assert column in page


def test_a_candidate_is_registered_once_with_its_lineage(rides: Any, snapshot: str) -> None:
    first = rides.train(3)
    again = rides.train(3)
    assert (first.version, first.created, again.version, again.created) == (1, True, 1, False)
    assert rides.registry.alias("rides", "candidate") == 1
    tags = rides.registry.tags("rides", 1)
    assert tags["dag_id"] == "rides.test"
    assert tags["snapshot_digest"] == snapshot.rpartition("/")[2]
    assert tags["device"] == "cpu"
    assert tags["device_names"]
    assert int(tags["device_peak_memory_mib"]) > 0
    assert float(tags["device_seconds"]) >= 0
    assert tags["predecessor"] == ""
    assert len(tags["environment_digest"]) == 64
    version = rides.registry.version("rides", 1)
    assert read_manifest(rides.objects, version.key).digest == version.digest


def test_a_training_that_lasts_shows_its_curve_in_the_very_run_that_is_registered(
    rides: Any, snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kilter.live_curves.BEGIN_SECONDS", 0.0)
    trained = rides.act("train", snapshot=snapshot)
    run = rides.registry.runs[trained.run_id]
    assert (run.name, run.status, run.tags) == ("run", "RUNNING", {"dag_id": "rides.test", "run_id": "run"})
    losses = read_manifest(rides.objects, trained.model).facts["losses"]
    assert run.curves == {"validation_loss": list(enumerate(losses))}
    parts = {
        "evaluation": rides.act("evaluate", snapshot=snapshot, model=trained.model).evaluation,
        "profile": rides.act("profile", snapshot=snapshot).profile,
    }
    registered = rides.act(
        "register",
        snapshot=snapshot,
        model=trained.model,
        run_id=trained.run_id,
        device=trained.device.model_dump(),
        **parts,
    )
    assert registered.run_id == trained.run_id


def test_a_network_is_trained_from_the_snapshot_with_parameters_of_its_own(rides: Any, snapshot: str) -> None:
    rides.change_spec(
        lambda text: text.replace("{trainer: xgboost,", "{trainer: torch, rounds: 5, parameters: {width: 16},")
    )
    outputs = rides.run("train", snapshot=snapshot, parameters={"depth": 1, "batch_rows": 64, "learning_rate": 0.01})
    manifest = read_manifest(rides.objects, outputs["model"])
    assert manifest.facts["parameters"] == {"width": 16, "depth": 1, "batch_rows": 64, "learning_rate": 0.01}
    assert set(manifest.files) == {"model.onnx", "model.safetensors", "signature.json"}
    evaluated = rides.run("evaluate", snapshot=snapshot, model=outputs["model"])
    assert evaluated["metrics"]["roc_auc"] > 0.8
    evaluation = json.loads(rides.objects.get(f"{evaluated['evaluation']}/evaluation.json"))
    assert evaluation["importance"]["fare"] > 0.5
    with pytest.raises(InputError, match=r"training.parameters of trainer torch: there is no 'eta'"):
        rides.run("train", snapshot=snapshot, parameters={"eta": 0.1})
