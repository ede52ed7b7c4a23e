"""What the XGBoost trainer takes for a model."""

import numpy as np
import pytest
import xgboost

from kilter.errors import DataError
from kilter.trainers.xgboost import MODEL_FILE, load


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
