"""What an exported model's folder holds: the model in a form that needs no Kilter, checked, and what to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json

import kilter
from kilter.encoding import Matrix, Signature, encode
from kilter.export.example import as_columns, made_up_rows
from kilter.export.graph import score, to_columns, with_named_inputs
from kilter.serving import ubjson
from kilter.serving.models import LoadedModel, load
from kilter.serving.predictors import Graph, check_agreement, tree_graph
from kilter.spec import ModelSpec
from kilter.stores.deployment import Deployment
from kilter.stores.models import encode_frame
from kilter.stores.objects import Manifest, ObjectStore, open_file, read_file, read_manifest, sha256
from kilter.stores.registry import ModelVersion
from kilter.trainers import SIGNATURE_FILE
from kilter.trainers.torch import ONNX_FILE
from kilter.trainers.xgboost import MODEL_FILE

MANIFEST_FILE = "manifest.json"
_ORIGIN = ("git_commit", "code_digest", "environment_digest", "image_digest")
"""Tags of a version that tell what made it; others may name people and places."""
_FOLDER = Path(__file__).parent
_TRIED_ROWS = 2048
_MISSING_SHARE = 1 / 6
_EXAMPLES = {
    ONNX_FILE: (_FOLDER / "examples/with_onnxruntime.py", ("numpy", "onnxruntime")),
    MODEL_FILE: (_FOLDER / "examples/with_xgboost.py", ("numpy", "xgboost")),
}
"""For each file that a model can be, the example of its use and the packages that this needs."""


@dataclass(frozen=True)
class Export:
    """A version to take away: what the registry and the model's folder say of it, and the store that holds it.

    Args:
        tags: the version's lineage.
    """

    spec: ModelSpec
    version: ModelVersion
    tags: Mapping[str, str]
    objects: ObjectStore

    def files(self) -> dict[str, bytes]:
        """The folder's files by name; equal versions give equal bytes.

        Raises:
            DataError: the model or its training set is gone, altered or no such thing, or the graph with named inputs
                gives other scores than the model server.
        """
        model, manifest = self._load(), read_manifest(self.objects, self.version.key)
        signature, observed = model.signature, self._observed(model.signature)
        rows = made_up_rows(observed, signature)
        scores = model.predict(encode(as_columns(rows, signature), signature))
        name, data = self._model_file(model, manifest, observed)
        example, needs = _EXAMPLES[name]
        files = {
            name: data,
            SIGNATURE_FILE: read_file(self.objects, manifest, SIGNATURE_FILE),
            "example.json": _json({"rows": rows, "scores": list(scores)}),
            "example.py": example.read_bytes(),
            "README.md": self._readme(model, model_file=name, needs=needs),
        }
        return files | {MANIFEST_FILE: _json(self._facts(signature, manifest, files))}

    def _load(self) -> LoadedModel:
        """The model as a server loads it, each file checked against its digest."""
        version = self.version
        return load(
            self.objects,
            Deployment(model=self.spec.name, version=version.version, key=version.key, digest=version.digest),
        )

    def _observed(self, signature: Signature) -> Matrix:
        """The first rows of the training set's test part, encoded."""
        import pyarrow.parquet as pq

        snapshot = read_manifest(self.objects, self.version.snapshot)
        with open_file(self.objects, snapshot, "test.parquet") as file:
            rows = next(pq.ParquetFile(file).iter_batches(_TRIED_ROWS, columns=list(signature.names)))
            return encode_frame(rows.to_pandas(), signature)

    def _model_file(self, model: LoadedModel, manifest: Manifest, observed: Matrix) -> tuple[str, bytes]:
        """Name and bytes: ONNX with named inputs, or the booster where no graph gives its scores."""
        rows = _with_gaps(observed)
        if ONNX_FILE in manifest.files:
            graph = read_file(self.objects, manifest, ONNX_FILE)
        else:
            booster = read_file(self.objects, manifest, MODEL_FILE)
            if model.predictor != Graph.name:
                return MODEL_FILE, booster
            graph, telling = tree_graph(ubjson.read(booster), model.signature)
            rows = np.concatenate([rows, telling])
        version = self.version
        facts = {"model": self.spec.name, "version": str(version.version), "digest": version.digest}
        named = with_named_inputs(graph, model.signature, facts)
        columns = to_columns(rows, model.signature)
        expected = model.predict(encode(columns, model.signature))
        check_agreement(score(named, columns), expected, model.signature.task)
        return ONNX_FILE, named

    def _facts(self, signature: Signature, manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, Any]:
        version = self.version
        return {
            "model": self.spec.name,
            "version": version.version,
            "task": signature.task,
            "model_digest": version.digest,
            "snapshot_digest": version.snapshot.rpartition("/")[2],
            "trainer": manifest.facts["trainer"],
            "metrics": self._metrics(),
            "origin": {name: self.tags.get(name, "") for name in _ORIGIN},
            "licence_of_the_data": self.spec.source.licence,
            "exported_by": f"kilter {kilter.__version__}",
            "files": {name: sha256(data) for name, data in sorted(files.items())},
        }

    def _metrics(self) -> dict[str, float]:
        """Of the test part as a whole; slices may name what nobody else need know."""
        found = self.version.metrics
        return {name: found[name] for name in self.spec.evaluation.metrics if name in found}

    def _readme(self, model: LoadedModel, **values: Any) -> bytes:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        pages = Environment(
            loader=FileSystemLoader(_FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page = pages.get_template("README.md.j2")
        told = {"spec": self.spec, "version": self.version, "metrics": self._metrics(), "model": model}
        return (page.render(**told, **values) + "\n").encode()


def _with_gaps(observed: Matrix) -> Matrix:
    """Rows of which some values are missing, always the same ones, and one of which all are."""
    rows = observed.copy()
    rows[np.random.default_rng(0).random(rows.shape) < _MISSING_SHARE] = np.nan
    return np.concatenate([rows, np.full((1, rows.shape[1]), np.nan, np.float32)])


def _json(value: Any) -> bytes:
    return to_json(value, indent=1, inf_nan_mode="null") + b"\n"
