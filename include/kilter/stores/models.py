"""Snapshots and models in the object store, read back in the form that scoring needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kilter.encoding import Matrix, Signature, encode, encode_labels, missing_feature, numbers
from kilter.errors import DataError
from kilter.spec import Feature
from kilter.stores.objects import Manifest, ObjectStore, commit_dataset, read_file, read_manifest
from kilter.stores.parquet import read_table
from kilter.trainers import SIGNATURE_FILE, Part, Predictor, Scores, Trained, trainer

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PartName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Model:
    """A loaded model with the signature that it was trained on."""

    signature: Signature
    predictor: Predictor

    def score(self, frame: pd.DataFrame) -> Scores:
        """Score a frame that holds the signature's columns, in the shapes of `Predictor.predict`."""
        return self.predictor.predict(encode_frame(frame, self.signature))


def save_model(
    objects: ObjectStore, model: str, trained: Trained, signature: Signature, facts: Mapping[str, Any]
) -> Manifest:
    """Commit a trained model under its digest, with its rounds, its losses and the facts of its training.

    `facts` names at least the `trainer`, by which the model is loaded again, and the `loss` that it made small.
    """
    files = {**trained.files, SIGNATURE_FILE: signature.model_dump_json(indent=1).encode()}
    return commit_dataset(
        objects, f"models/{model}", files, {"rounds": trained.rounds, "losses": trained.losses, **facts}
    )


def load_model(objects: ObjectStore, key: str) -> Model:
    """Load a model by key, each file checked against its digest, by the trainer that made it.

    Raises:
        DataError: not committed, altered, or no model of its trainer.
    """
    manifest = read_manifest(objects, key)
    files = {name: read_file(objects, manifest, name) for name in manifest.files}
    signature = Signature.model_validate_json(files[SIGNATURE_FILE])
    return Model(signature, trainer(manifest.facts["trainer"]).load(files))


def loss_of(model: Manifest) -> str:
    """The metric that a model's training made small; those of before there were tasks say none: theirs is log loss."""
    found: str = model.facts.get("loss", "log_loss")
    return found


def losses_of(model: Manifest) -> tuple[float, ...]:
    """Loss of the validation part after each round of a model's training; empty where none was kept."""
    # JSON knows no NaN, so that one comes back as None.
    return tuple(math.nan if loss is None else loss for loss in model.facts.get("losses", ()))


def read_part(objects: ObjectStore, snapshot: str, part: PartName) -> pd.DataFrame:
    """One part of a frozen training set as a data frame."""
    return read_table(objects, snapshot, f"{part}.parquet").to_pandas()


def to_part(frame: pd.DataFrame, signature: Signature, label: str) -> Part:
    """Encode a data frame, with its labels in the column `label`, for a trainer."""
    return Part(encode_frame(frame, signature), encode_labels(frame[label], signature.classes))


def encode_table(table: pa.Table, signature: Signature) -> Matrix:
    """`encode` for an Arrow table, whose columns are numbers and texts: the same matrix, without an object a value.

    Raises:
        DataError: as of `encode`.
    """
    matrix = np.empty((table.num_rows, len(signature.features)), np.float32)
    for place, feature in enumerate(signature.features):
        if feature.name not in table.column_names:
            raise missing_feature(feature, signature)
        column = table[feature.name]
        matrix[:, place] = _codes(column, feature) if feature.categories else numbers(feature, column.to_numpy())
    return matrix


def _codes(column: pa.ChunkedArray, feature: Feature) -> Matrix:
    import pyarrow as pa
    import pyarrow.compute as pc

    # A column without a value has whatever type its writer chose for it.
    if pc.all(column.is_null(nan_is_null=True), min_count=0).as_py():
        return np.full(len(column), np.nan, np.float32)
    texts = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(texts) or pa.types.is_large_string(texts)):
        raise DataError(f"feature '{feature.name}' got a column of {column.type}: a category is a text or null")
    codes = pc.index_in(column.cast(pa.string()), value_set=pa.array(feature.categories, pa.string()), skip_nulls=True)
    return codes.cast(pa.float32()).to_numpy()


def encode_frame(frame: pd.DataFrame, signature: Signature) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """`encode` for a data frame; missing values of any kind become NaN."""
    columns = {
        feature.name: (
            frame[feature.name].astype(object).where(frame[feature.name].notna(), None)
            if feature.categories
            else frame[feature.name].to_numpy(np.float64, na_value=np.nan)
        )
        for feature in signature.features
        if feature.name in frame
    }
    return encode(columns, signature)
