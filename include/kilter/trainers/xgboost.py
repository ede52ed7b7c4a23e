"""Gradient-boosted trees by XGBoost, stored as UBJSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError, InputError
from kilter.spec import OWN_PARAMETERS, Task
from kilter.trainers import Loss, Part, Rows, Scores, Trained, TrainingRun, whole

MODEL_FILE = "model.ubj"
_MANY_ROWS = 10_000
_THREADS = 2
"""Fixed, because the number of threads decides the order of sums and with it the model's bytes; for few rows, over which threads
wait for each other longer than they work, it is one."""
_PROGRESS_ROUNDS = 50

_OBJECTIVES: dict[tuple[Task, Loss], dict[str, str]] = {
    ("binary", "log_loss"): {"objective": "binary:logistic", "eval_metric": "logloss"},
    ("multiclass", "log_loss"): {"objective": "multi:softprob", "eval_metric": "mlogloss"},
    ("regression", "rmse"): {"objective": "reg:squarederror", "eval_metric": "rmse"},
    ("regression", "mae"): {"objective": "reg:absoluteerror", "eval_metric": "mae"},
}
"""What XGBoost makes small, and what it stops early by."""


def train(train: Rows, validation: Rows, run: TrainingRun) -> Trained:
    """Boost until `early_stopping` rounds bring no gain on the validation part, at most `rounds`.

    Of many classes each round makes a tree for each class of the signature, also for those that no row has.

    Raises:
        InputError: `training.parameters` sets what Kilter sets, or XGBoost refuses a value.
    """
    import xgboost

    signature, training = run.signature, run.training
    if taken := sorted(OWN_PARAMETERS["xgboost"] & training.parameters.keys()):
        raise InputError(f"training.parameters: {', '.join(taken)} is set by Kilter: remove it from model.yaml")
    parameters: dict[str, Any] = {
        **training.parameters,
        **(objective := _OBJECTIVES[signature.task, run.loss]),
        **({"num_class": len(signature.classes)} if signature.classes else {}),
        "seed": training.seed,
        "nthread": _THREADS if len(train) >= _MANY_ROWS else 1,
        "device": run.device,
        "tree_method": "hist",
    }
    history: dict[str, dict[str, list[float]]] = {}
    try:
        booster = xgboost.train(
            parameters,
            _matrix(whole(train), signature),
            num_boost_round=training.rounds,
            evals=[(_matrix(whole(validation), signature), "validation")],
            early_stopping_rounds=training.early_stopping,
            evals_result=history,
            verbose_eval=False,
            callbacks=[_progress(objective["eval_metric"], run)],
        )
    except xgboost.core.XGBoostError as error:
        raise InputError(
            f"XGBoost refused the training: {str(error).splitlines()[-1]}: see training.parameters"
        ) from error
    best = booster[: booster.best_iteration + 1]
    losses = tuple(history["validation"][objective["eval_metric"]])
    return Trained({MODEL_FILE: bytes(best.save_raw("ubj"))}, best.num_boosted_rounds(), losses)


def load(files: Mapping[str, bytes]) -> Booster:
    """Load a UBJSON booster.

    Raises:
        DataError: there is no model file, or it is no such model.
    """
    import xgboost

    if MODEL_FILE not in files:
        raise DataError(f"no file '{MODEL_FILE}' among {', '.join(sorted(files))}: train the model again")
    data = files[MODEL_FILE]
    try:
        # XGBoost would guess the format; UBJSON alone is taken, and JSON alone begins like it.
        if not data.startswith(b"{") or data[1:].lstrip()[:1] in (b'"', b"}"):
            raise ValueError
        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
    except (ValueError, xgboost.core.XGBoostError):
        raise DataError(
            f"{MODEL_FILE} is no XGBoost model in UBJSON, the only format that is loaded: train it again"
        ) from None
    return Booster(booster)


class Booster:
    """A loaded booster."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, rows: Matrix) -> Scores:
        """As `kilter.trainers.Predictor` describes."""
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


def _progress(metric: str, run: TrainingRun) -> Any:
    import xgboost

    class Progress(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            loss = float(evals_log["validation"][metric][-1])
            if epoch % _PROGRESS_ROUNDS == 0:
                run.log.info("round %d: validation %s %.5f", epoch, metric, loss)
            run.on_round(epoch, loss)
            return False

    return Progress()
