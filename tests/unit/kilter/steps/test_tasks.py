"""From labels to the gate's checks, on rides whose pace, one of three classes, or whose minutes are asked for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from kilter.core.verdict import Judgement, Verdict
from kilter.errors import DataError, InputError
from kilter.holdout import read_holdout
from kilter.scores import to_column
from kilter.spec import load_spec
from kilter.stores.models import load_model, read_part
from kilter.stores.parquet import frame_to_parquet
from kilter.trainers import Part

from .conftest import Rides

TASKS = ("multiclass", "regression")


@pytest.fixture(scope="session")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Rides, str]]:
    """For each task three learnable days and the training set of them."""
    made = {}
    for task in TASKS:
        rides = Rides(tmp_path_factory.mktemp(task))
        rides.turn(task)
        for day in range(3):
            rides.ingest(day, rides.learnable(day))
        made[task] = (rides, str(rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"]))
    return made


class World:
    """A copy of a history: its rides, with fares trusted, and its snapshot."""

    def __init__(self, task: str, rides: Rides, histories: dict[str, tuple[Rides, str]]) -> None:
        history, self.snapshot = histories[task]
        rides.become(history)
        rides.turn(task)
        rides.change_spec(lambda text: text.replace("gate: {", "gate: {sanity: {trusted_features: [fare]}, "))
        self.task, self.rides, self.spec = task, rides, load_spec(rides.folder)

    def judged(self, check: str, version: int) -> Judgement:
        holdout = self.rides.act("score_holdout", version=version).holdout
        return self.rides.act(f"check_{check}", holdout=holdout).judgement


@pytest.fixture(params=TASKS)
def world(request: pytest.FixtureRequest, rides: Rides, histories: dict[str, tuple[Rides, str]]) -> World:
    return World(request.param, rides, histories)


@pytest.fixture
def paces(rides: Rides, histories: dict[str, tuple[Rides, str]]) -> World:
    return World("multiclass", rides, histories)


def shuffled(part: Part) -> Part:
    """Labels that have nothing to do with the rows."""
    return Part(part.rows, np.random.default_rng(1).permutation(part.labels))


def blind(part: Part) -> Part:
    """Rows that hide what they are."""
    return Part(np.full_like(part.rows, np.nan), part.labels)


def test_labels_are_stored_as_they_are_and_score_in_the_shape_of_the_task(world: World) -> None:
    test = read_part(world.rides.objects, world.snapshot, "test")
    model = load_model(world.rides.objects, world.rides.run("train", snapshot=world.snapshot)["model"])
    if world.task == "multiclass":
        assert set(test.pace) == {"quick", "usual", "slow"}
        assert model.signature.classes == ("quick", "usual", "slow")
        assert model.score(test).shape == (len(test), 3)
    else:
        assert test.duration.dtype == np.float64
        assert model.score(test).shape == (len(test),)


def test_an_evaluation_has_the_metrics_and_the_pictures_of_its_task(world: World) -> None:
    model = world.rides.run("train", snapshot=world.snapshot)["model"]
    outputs = world.rides.run("evaluate", snapshot=world.snapshot, model=model)
    assert tuple(outputs["metrics"]) == world.spec.evaluation.metrics
    least, greatest = {"multiclass": (0.6, 1.0), "regression": (3.0, 6.0)}[world.task]
    assert least < outputs["metrics"][world.spec.evaluation.primary] < greatest
    folder = world.rides.objects.root / outputs["evaluation"]
    pictures = {"multiclass": {"confusion", "calibration"}, "regression": {"predicted", "residuals"}}[world.task]
    assert {path.stem for path in folder.glob("*.png")} == pictures | {"importance"}
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["slices"]["zone"].keys() == {"north", "south"}


def test_a_good_candidate_passes_what_a_candidate_of_shuffled_labels_does_not(world: World) -> None:
    good, bad = world.rides.candidate(world.snapshot), world.rides.candidate(world.snapshot, shuffled)
    for check in ("thresholds", "slices", "sanity"):
        judgement = world.judged(check, good)
        assert judgement.verdict == "passed", f"{check}: {judgement.reason}"
    assert world.judged("thresholds", bad).verdict == "failed"
    assert world.judged("sanity", bad).verdict != "passed"
    world.rides.registry.set_alias("rides", "champion", good)
    judgement = world.judged("against_champion", bad)
    assert judgement.verdict == "failed"
    assert f"{world.spec.evaluation.primary} lost to version 1, the champion, on the same" in judgement.reason


def test_the_whole_gate_judges_a_first_candidate_and_shows_its_figures(world: World) -> None:
    """The checks that need a server, or the origin of a pipeline's run, are taken for passed."""
    rides, version = world.rides, world.rides.candidate(world.snapshot)
    holdout = rides.act("score_holdout", version=version).holdout
    elsewhere = {"prediction_parity", "serving_fitness", "provenance"}
    judgements = [
        Judgement(name=check, verdict=Verdict.PASSED, reason="elsewhere")
        if check in elsewhere
        else rides.act(f"check_{check}", holdout=holdout).judgement
        for check in world.spec.checks
    ]
    assert {item.name: item.verdict for item in judgements if item.verdict == "failed"} == {}
    ruled = rides.act(
        "judge", version=version, holdout=holdout, judgements=[item.model_dump(mode="json") for item in judgements]
    )
    assert ruled.action in {"promote", "hold"}, ruled.reason
    page = rides.objects.get(f"{ruled.report}/gate_report.html").decode()
    assert all(f"{metric} " in page for metric in world.spec.gate.thresholds)
    assert ("Honest probabilities" in page) == (world.task == "multiclass")


def test_the_champion_again_is_not_inferior_in_any_slice(world: World) -> None:
    world.rides.registry.set_alias("rides", "champion", world.rides.candidate(world.snapshot))
    twin = world.rides.candidate(world.snapshot, name="twin")
    for check in ("against_champion", "slices"):
        assert world.judged(check, twin).verdict == "passed"


def test_a_model_that_gives_every_row_one_score_fails(world: World) -> None:
    judgement = world.judged("sanity", world.rides.candidate(world.snapshot, blind))
    assert judgement.verdict == "failed"
    assert "The model gives every row one score" in judgement.reason


def test_a_holdout_keeps_every_score_and_the_prior_of_the_train_part(world: World) -> None:
    champion, candidate = (world.rides.candidate(world.snapshot, learn) for learn in (shuffled, lambda part: part))
    world.rides.registry.set_alias("rides", "champion", champion)
    key = world.rides.act("score_holdout", version=candidate).holdout
    holdout = read_holdout(world.rides.objects, key, world.spec)
    for version, scores in ((candidate, holdout.candidate), (champion, holdout.champion)):
        model = load_model(world.rides.objects, world.rides.registry.version("rides", version).key)
        assert scores.tolist() == model.score(holdout.frame).tolist()
    train = read_part(world.rides.objects, world.snapshot, "train")
    if world.task == "regression":
        assert holdout.facts.prior == train.duration.median()
    else:
        counts = train.pace.value_counts()[["quick", "usual", "slow"]] + 1
        assert holdout.facts.prior == pytest.approx(tuple(counts / counts.sum()))
    assert holdout.guesses.shape == holdout.candidate.shape


def test_the_most_probable_class_is_right_as_often_as_it_says(paces: World) -> None:
    honest = paces.judged("calibration", paces.rides.candidate(paces.snapshot))
    assert [item.label for item in honest.measured].count("calibration slope") == 2
    assert sum(bin["rows"] for bin in honest.figures["bins"]) == honest.figures["rows"]
    error = next(item for item in honest.measured if item.label == "expected calibration error")
    lost = paces.judged("calibration", paces.rides.candidate(paces.snapshot, shuffled))
    assert error.verdict in {"passed", "inconclusive"}
    assert lost.verdict != "passed"


def test_a_champion_that_does_not_know_a_class_gives_it_no_probability(paces: World) -> None:
    def without_usual(part: Part) -> Part:
        kept = part.labels != 1
        return Part(part.rows[kept], (part.labels[kept] == 0).astype(float))

    rides, two = paces.rides, {"classes": ("slow", "quick")}
    candidate = rides.candidate(paces.snapshot)
    rides.registry.set_alias("rides", "champion", rides.candidate(paces.snapshot, without_usual, two))
    key = rides.act("score_holdout", version=candidate).holdout
    holdout = read_holdout(rides.objects, key, paces.spec)
    assert (holdout.champion[:, 1] == 0).all()
    assert holdout.champion.sum(axis=1) == pytest.approx(np.ones(len(holdout.labels)))
    assert (holdout.champion.argmax(axis=1) == holdout.labels).mean() > 0.5


def test_a_champion_of_another_task_is_not_compared_and_such_a_candidate_refused(paces: World) -> None:
    other = paces.rides.candidate(paces.snapshot, answers={"task": "regression", "classes": ()})
    with pytest.raises(InputError, match=r"version 1 is regression, and model.yaml says task: multiclass: train again"):
        paces.rides.act("score_holdout", version=other)
    paces.rides.registry.set_alias("rides", "champion", other)
    judgement = paces.judged("against_champion", paces.rides.candidate(paces.snapshot))
    assert judgement.verdict == "inconclusive"
    assert "it is regression, and model.yaml says task: multiclass" in judgement.reason


def test_a_new_champion_is_watched_by_all_its_scores(world: World) -> None:
    rides, spec = world.rides, world.spec
    rides.registry.set_alias("rides", "champion", rides.candidate(world.snapshot))
    served = rides.candidate(world.snapshot, shuffled)
    rollout = rides.ledger.begin_rollout("rides", served, 1)
    begun = {"watch_from": rides.day(3)["start"]}
    for state in ("shadow", "shifting", "promoting", "promoted"):
        rides.ledger.advance_rollout(rides.ledger.rollout(rollout), state, 100, "", begun)  # type: ignore[arg-type]
    frame = rides.learnable(3)
    model = load_model(rides.objects, rides.registry.version("rides", served).key)
    rows = frame[["ride_id", "started_at", "fare", "zone"]].assign(
        request_id="r",
        logged_at=pd.Timestamp("2024-02-01T00:00:00Z"),
        role="champion",
        model_version=served,
        digest="d",
        score=to_column(model.score(frame)),
    )
    span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (rows.started_at.min(), rows.started_at.max()))
    rides.objects.put(f"predictions/rides/{span}_champion_1.parquet", frame_to_parquet(rows))
    rides.ingest(3, frame)
    seen = rides.act("watch")
    assert (seen.action, seen.version) == ("roll_back", served)
    assert f"{spec.evaluation.primary} lost to version 1, the predecessor, on the same 4" in seen.reason


@pytest.mark.parametrize(
    ("task", "old", "new", "told"),
    [
        ("multiclass", '"quick"', '"fast"', "labels that are none, first 'fast' of ride_id '0-"),
        ("multiclass", '"quick"', "None", "labels that are none, first None of ride_id '0-"),
        ("regression", "ended.minutes", "ended.minutes / 0", "a label of 'duration' is a finite number: correct it"),
        ("binary", "(ended.minutes > 20)", "(ended.minutes - ended.minutes + 2)", "a label of 'slow' is one of 0, 1"),
    ],
)
def test_a_label_that_is_none_is_refused_when_it_is_built(
    rides: Rides, task: str, old: str, new: str, told: str
) -> None:
    if task != "binary":
        rides.turn(task)
    path = rides.folder / "features.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=told):
        rides.ingest(0)


@pytest.mark.parametrize(
    ("task", "needed"), [("multiclass", "two classes or more"), ("regression", "numbers that differ")]
)
def test_a_train_part_of_one_label_is_refused(rides: Rides, task: str, needed: str) -> None:
    rides.turn(task)
    rides.ingest(0, rides.frame(0, rows=200).assign(minutes=5.0))
    with pytest.raises(DataError, match=f"the train part's .* needed are {needed}"):
        rides.run("freeze_dataset", as_of=rides.day(1)["start"])


def test_a_class_that_a_part_lacks_is_no_fault(rides: Rides) -> None:
    rides.turn("multiclass")
    frame = rides.frame(0, rows=200)
    rides.ingest(0, frame.assign(minutes=frame.minutes.where(frame.index < 150, 5.0)))
    snapshot = rides.run("freeze_dataset", as_of=rides.day(1)["start"])["snapshot"]
    assert set(read_part(rides.objects, snapshot, "test").pace) == {"quick"}
    model = rides.run("train", snapshot=snapshot)["model"]
    metrics = rides.run("evaluate", snapshot=snapshot, model=model)["metrics"]
    assert metrics.keys() == {"accuracy", "log_loss", "brier", "macro_f1"}


def test_labels_of_another_task_are_told_with_the_cure(rides: Rides) -> None:
    rides.ingest(0)
    rides.change_spec(lambda text: text.replace("binary", "regression").replace("roc_auc", "r2"))
    with pytest.raises(DataError, match=r"'slow' is int8, of another task than model.yaml says now: task: regression"):
        rides.run("freeze_dataset", as_of=rides.day(1)["start"])
