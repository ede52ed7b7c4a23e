"""Gradient-boosted trees by XGBoost, stored as UBJSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError, InputError
from kilter.spec import OWN_PARAMETERS, Training
from kilter.trainers import Part, Trained, Vector

MODEL_FILE = "model.ubj"
_THREADS = 2
"""Fixed, because the number of threads decides the order of sums and with it the model's bytes."""
_PROGRESS_ROUNDS = 50


def train(
    train: Part,
    validation: Part,
    signature: Signature,
    training: Training,
    device: Literal["cpu", "cuda"],
    log: logging.Logger,
) -> Trained:
    """Boost until `early_stopping` rounds bring no gain on the validation part, at most `rounds`.

    Raises:
        InputError: `training.parameters` sets what Kilter sets, or XGBoost refuses a value.
    """
    import xgboost

    if taken := sorted(OWN_PARAMETERS["xgboost"] & training.parameters.keys()):
        raise InputError(f"training.parameters: {', '.join(taken)} is set by Kilter: remove it from model.yaml")
    parameters: dict[str, Any] = {
        **training.parameters,
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "seed": training.seed,
        "nthread": _THREADS,
        "device": device,
        "tree_method": "hist",
    }
    curve: dict[str, dict[str, list[float]]] = {}
    try:
        booster = xgboost.train(
            parameters,
            _matrix(train, signature),
            num_boost_round=training.rounds,
            evals=[(_matrix(validation, signature), "validation")],
            early_stopping_rounds=training.early_stopping,
            evals_result=curve,
            verbose_eval=False,
            callbacks=[_progress(log)],
        )
    except xgboost.core.XGBoostError as error:
        raise InputError(
            f"XGBoost refused the training: {str(error).splitlines()[-1]}: see training.parameters"
        ) from error
    best = booster[: booster.best_iteration + 1]
    return Trained({MODEL_FILE: bytes(best.save_raw("ubj"))}, best.num_boosted_rounds(), curve["validation"]["logloss"])


def load(files: Mapping[str, bytes]) -> Booster:
    """Load a UBJSON booster.

    Raises:
        DataError: the bytes are no such model.
    """
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(files[MODEL_FILE]))
    except (KeyError, xgboost.core.XGBoostError) as error:
        raise DataError(f"{MODEL_FILE} is not an XGBoost model in UBJSON: train it again") from error
    return Booster(booster)


class Booster:
    """A loaded booster."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, rows: Matrix) -> Vector:
        """Probability of the positive class, one a row."""
        return np.asarray(
            self._booster.inplace_predict(rows, missing=np.nan, validate_features=False), dtype=np.float64
        )

    def importance(self) -> dict[str, float]:
        """Share of the total gain of each feature that the trees split on."""
        gain = self._booster.get_score(importance_type="total_gain")
        total = sum(gain.values())
        return {name: value / total for name, value in gain.items()} if total else {}


def _matrix(part: Part, signature: Signature) -> Any:
    import xgboost

    return xgboost.DMatrix(
        part.rows,
        label=part.labels,
        feature_names=list(signature.names),
        feature_types=signature.feature_types,
        enable_categorical=True,
    )


def _progress(log: logging.Logger) -> Any:
    import xgboost

    class Progress(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch % _PROGRESS_ROUNDS == 0:
                log.info("round %d: validation log loss %.5f", epoch, evals_log["validation"]["logloss"][-1])
            return False

    return Progress()
