"""What the XGBoost trainer takes for a model."""

import numpy as np
import pytest
import xgboost

from kilter.encoding import Signature
from kilter.errors import DataError
from kilter.spec import Feature, Task, Training
from kilter.trainers import Loss, Part, TrainingRun
from kilter.trainers.xgboost import MODEL_FILE, load, train


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    rows = np.random.default_rng(1).random((50, 2))
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(rows, rows[:, 0] > 0.5), 2)


def test_what_it_saved_is_loaded(booster: xgboost.Booster) -> None:
    assert len(load({MODEL_FILE: bytes(booster.save_raw("ubj"))}).predict(np.zeros((3, 2), np.float32))) == 3


def test_a_model_in_json_is_refused(booster: xgboost.Booster) -> None:
    with pytest.raises(DataError, match=r"model.ubj is no XGBoost model in UBJSON, the only format that is loaded"):
        load({MODEL_FILE: bytes(booster.save_raw("json"))})


@pytest.mark.parametrize("data", [b"\x80\x04pickle", b"{}", b"", b"{L"])
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="train it again"):
        load({MODEL_FILE: data})


def test_files_without_a_model_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"no file 'model.ubj' among signature.json"):
        load({"signature.json": b"{}"})


def learned(signature: Signature, loss: Loss, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What a model says of the rows that it learned from, the first half, and stopped early by, the other."""
    half = len(rows) // 2
    parts = [Part(rows[part], labels[part]) for part in (slice(half), slice(half, None))]
    training = Training(trainer="xgboost", rounds=20, early_stopping=5, parameters={"max_depth": 2})
    return load(train(*parts, TrainingRun(signature, training, loss)).files).predict(rows)


def of(task: Task, *classes: str) -> Signature:
    return Signature(entity="id", timestamp="at", features=(Feature(name="x"),), task=task, classes=classes)


def test_every_class_has_a_probability_also_one_that_no_row_has() -> None:
    rows = np.random.default_rng(4).random((600, 1)).astype(np.float32)
    labels = np.where(rows[:, 0] < 0.5, 0.0, 3.0)
    labels[550:] = 1.0
    scores = learned(of("multiclass", "a", "b", "c", "d"), "log_loss", labels, rows)
    assert scores.shape == (600, 4)
    assert scores.sum(axis=1) == pytest.approx(np.ones(600), abs=1e-6)
    assert (scores.argmax(axis=1) == np.where(rows[:, 0] < 0.5, 0, 3)).mean() > 0.99
    assert (scores > 0).all()


def test_two_classes_may_be_listed_as_well() -> None:
    rows = np.random.default_rng(4).random((600, 1)).astype(np.float32)
    scores = learned(of("multiclass", "low", "high"), "log_loss", (rows[:, 0] > 0.3).astype(float), rows)
    assert ((scores[:, 1] > 0.5) == (rows[:, 0] > 0.3)).mean() > 0.99


def test_a_squared_error_leads_to_the_mean_and_an_absolute_one_to_the_median() -> None:
    """Of an exponential distribution of scale 10 these are 10 and 10 ln 2 = 6.9."""
    random = np.random.default_rng(5)
    rows, labels = np.zeros((4000, 1), np.float32), random.exponential(10, 4000)
    assert learned(of("regression"), "rmse", labels, rows).mean() == pytest.approx(10, abs=0.5)
    assert learned(of("regression"), "mae", labels, rows).mean() == pytest.approx(6.9, abs=0.5)


def test_a_number_is_predicted_in_its_own_unit() -> None:
    rows = np.random.default_rng(6).random((1000, 1)).astype(np.float32)
    scores = learned(of("regression"), "rmse", 500 + 100 * rows[:, 0].astype(float), rows)
    assert scores.shape == (1000,)
    assert scores == pytest.approx(500 + 100 * rows[:, 0], abs=10)


def test_the_loss_of_every_round_is_kept_also_of_those_after_the_best() -> None:
    random = np.random.default_rng(2)
    rows = random.random((400, 1)).astype(np.float32)
    part = Part(rows, (rows[:, 0] + random.normal(scale=0.3, size=400) > 0.5).astype(float))
    signature = Signature(entity="id", timestamp="at", features=(Feature(name="x"),))
    training = Training(trainer="xgboost", rounds=200, early_stopping=7)
    trained = train(Part(part.rows[:200], part.labels[:200]), Part(part.rows[200:], part.labels[200:]),
                    TrainingRun(signature, training, "log_loss"))  # fmt: skip
    assert len(trained.losses) == trained.rounds + 7
    assert min(trained.losses) == trained.losses[trained.rounds - 1]
    scores = load(trained.files).predict(part.rows[200:])
    log_loss = -np.log(np.where(part.labels[200:] == 1, scores, 1 - scores)).mean()
    assert trained.losses[trained.rounds - 1] == pytest.approx(log_loss, abs=1e-5)
