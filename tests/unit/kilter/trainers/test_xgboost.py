"""What the XGBoost trainer takes for a model."""

import logging

import numpy as np
import pytest
import xgboost

from kilter.encoding import Signature
from kilter.errors import DataError
from kilter.spec import Feature, Training
from kilter.trainers import Part
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


def test_the_loss_of_every_round_is_kept_also_of_those_after_the_best() -> None:
    random = np.random.default_rng(2)
    rows = random.random((400, 1)).astype(np.float32)
    part = Part(rows, (rows[:, 0] + random.normal(scale=0.3, size=400) > 0.5).astype(float))
    signature = Signature(entity="id", timestamp="at", features=(Feature(name="x"),))
    training = Training(trainer="xgboost", rounds=200, early_stopping=7)
    trained = train(Part(part.rows[:200], part.labels[:200]), Part(part.rows[200:], part.labels[200:]),
                    signature, training, "cpu", logging.getLogger("test"))  # fmt: skip
    assert len(trained.losses) == trained.rounds + 7
    assert min(trained.losses) == trained.losses[trained.rounds - 1]
    scores = load(trained.files).predict(part.rows[200:])
    log_loss = -np.log(np.where(part.labels[200:] == 1, scores, 1 - scores)).mean()
    assert trained.losses[trained.rounds - 1] == pytest.approx(log_loss, abs=1e-5)
