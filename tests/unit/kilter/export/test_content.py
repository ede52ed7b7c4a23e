"""What an exported folder holds, and what is never exported."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.kilter.export.versions import boosted, export_of, parts, saved

from kilter.encoding import Signature, encode
from kilter.errors import DataError
from kilter.export import content
from kilter.export.content import Export
from kilter.export.example import as_columns
from kilter.export.folder import write_folder
from kilter.export.graph import with_named_inputs
from kilter.stores.models import encode_frame, load_model
from kilter.stores.objects import commit_dataset
from kilter.stores.parquet import frame_to_parquet

KINDS: dict[str, dict[str, Any]] = {
    "boosted trees": {},
    "a network": {"network": True},
    "trees that no graph is made of": {"booster": "dart"},
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_task = pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])


def fact(files: dict[str, bytes], name: str) -> Any:
    return json.loads(files["manifest.json"])[name]


@each_task
def test_the_example_as_it_is_gives_the_scores_beside_it(task: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "the model", export_of(task, network=True).files())
    command = [sys.executable, "-I", str(tmp_path / "the model/example.py")]
    printed = subprocess.run(command, capture_output=True, text=True, cwd="/", check=True).stdout
    expected = json.loads((tmp_path / "the model/example.json").read_text())["scores"]
    np.testing.assert_allclose(json.loads(printed), expected, rtol=1e-5)
    assert np.shape(expected) == ((7, 3) if task == "multiclass" else (7,))


@each_task
def test_the_scores_beside_the_example_are_those_of_the_training_code(task: str) -> None:
    export = export_of(task)
    model = load_model(export.objects, export.version.key)
    example = json.loads(export.files()["example.json"])
    rows = encode(as_columns(example["rows"], model.signature), model.signature)
    np.testing.assert_allclose(example["scores"], model.predictor.predict(rows), rtol=1e-5)


@each_kind
def test_the_manifest_has_the_digest_of_every_file_and_where_the_model_comes_from(kind: str) -> None:
    export = export_of("binary", **KINDS[kind])
    files = export.files()
    found = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"}
    assert fact(files, "files") == found
    assert fact(files, "model_digest") == export.version.digest
    assert export.version.snapshot.endswith(fact(files, "snapshot_digest"))
    assert fact(files, "metrics") == {"brier": 0.25}
    assert fact(files, "origin")["git_commit"] == "c0ffee"


@each_kind
def test_only_a_graph_is_said_to_be_compared_with_the_servers_scores(kind: str) -> None:
    files = export_of("binary", **KINDS[kind]).files()
    assert (b"compared with the server's own" in files["README.md"]) is ("model.onnx" in files)


@pytest.mark.parametrize("private", [b"ann@example.com", b"manual", b"brier/line/a"])
def test_people_runs_and_slices_are_not_told(private: bytes) -> None:
    assert all(private not in data for data in export_of("binary").files().values())


def test_equal_versions_give_equal_bytes() -> None:
    assert export_of("multiclass").files() == export_of("multiclass").files()


def test_trees_that_no_graph_is_made_of_come_as_they_are_and_the_readme_says_why() -> None:
    export = export_of("binary", booster="dart")
    files = export.files()
    assert files["model.ubj"] == export.objects.get(f"{export.version.key}/model.ubj")
    assert "model.onnx" not in files
    readme = files["README.md"].decode()
    assert "Why not ONNX: xgboost, since no graph: binary:logistic by dart is none of" in readme
    assert "pip install numpy xgboost" in readme


def test_the_readme_tells_inputs_output_and_licence() -> None:
    export = export_of("multiclass")
    spec = export.spec.model_copy(update={"source": export.spec.source.model_copy(update={"licence": "CC0-1.0"})})
    files = replace(export, spec=spec).files()
    readme = files["README.md"].decode()
    assert "| `heat` | numeric | any finite number |" in readme
    assert "| `line` | categorical | `a`, `b` |" in readme
    assert "the probabilities that `quality` is `good`, `rework`, `scrap`, in this order" in readme
    assert "Licence of the data that it learned from: CC0-1.0." in readme
    assert fact(files, "licence_of_the_data") == "CC0-1.0"


def test_without_a_licence_the_readme_says_whom_to_ask() -> None:
    files = export_of("binary").files()
    assert "not stated (source.licence in model.yaml): ask tests before you pass this on" in files["README.md"].decode()
    assert fact(files, "licence_of_the_data") is None


@pytest.mark.parametrize("kind", ["boosted trees", "a network"])
def test_a_graph_that_scores_otherwise_than_the_server_is_not_exported(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(data: bytes, signature: Signature, facts: dict[str, str]) -> bytes:
        """The front of a signature whose categories are in another order."""
        other = signature.model_dump()
        other["features"][1]["categories"] = ("b", "a")
        return with_named_inputs(data, Signature.model_validate(other), facts)

    monkeypatch.setattr(content, "with_named_inputs", swapped)
    with pytest.raises(DataError, match=r"its scores differ from the model's by up to 0\."):
        export_of("binary", **KINDS[kind]).files()


@pytest.mark.parametrize("file", ["model.ubj", "signature.json", "manifest.json"])
def test_a_model_that_was_altered_is_not_exported(file: str) -> None:
    export = export_of("binary")
    key = f"{export.version.key}/{file}"
    export.objects.put(key, export.objects.get(key).replace(b"heat", b"cold").replace(b"xgboost", b"xgbeest"))
    with pytest.raises(DataError, match="was altered"):
        export.files()


def test_a_training_set_that_is_gone_is_named() -> None:
    export = export_of("binary")
    export.objects.delete(f"{export.version.snapshot}/manifest.json")
    with pytest.raises(DataError, match=f"no object at memory://{export.version.snapshot}/manifest.json"):
        export.files()


def test_categories_that_the_data_has_and_the_model_does_not_know_are_no_hindrance() -> None:
    export = export_of("binary")
    frame = parts(export.spec, 50).replace({"line": {"b": "new"}})
    made = commit_dataset(export.objects, "snapshots/parts", {"test.parquet": frame_to_parquet(frame)})
    assert np.isnan(encode_frame(frame, load_model(export.objects, export.version.key).signature)[:, 1]).any()
    again: Export = saved(export.objects, export.spec, boosted(export.spec, parts(export.spec, 99), {}), made.key)
    assert "model.onnx" in again.files()
