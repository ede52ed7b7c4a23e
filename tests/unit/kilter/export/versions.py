"""Versions of a made-up model, each with its training set, ready to be exported."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from tests.unit.kilter.parts import spec_of

from kilter.core.metrics import loss_metric
from kilter.encoding import Signature
from kilter.export.content import Export
from kilter.spec import ModelSpec
from kilter.stores.models import save_model, to_part
from kilter.stores.objects import MemoryObjects, ObjectStore, commit_dataset
from kilter.stores.parquet import frame_to_parquet
from kilter.stores.registry import ModelVersion
from kilter.trainers import Trained, TrainingRun, trainer

TAGS = {
    "git_commit": "c0ffee",
    "environment_digest": "e1",
    "reason": "asked for by ann@example.com",
    "run_id": "manual",
}
LINKS = {"binary": "Sigmoid", "multiclass": "Softmax", "regression": "Identity"}


def export_of(task: str, network: bool = False, **parameters: Any) -> Export:
    """A version made by XGBoost with these parameters, or a small network."""
    objects, spec = MemoryObjects(), spec_of(task)
    frame = parts(spec, 400)
    data = {f"{name}.parquet": frame_to_parquet(frame) for name in ("train", "validation", "test")}
    snapshot = commit_dataset(objects, f"snapshots/{spec.name}", data)
    trained = Trained({"model.onnx": graph_of(spec)}, 1, ()) if network else boosted(spec, frame, parameters)
    return saved(objects, spec, trained, snapshot.key)


def saved(objects: ObjectStore, spec: ModelSpec, trained: Trained, snapshot: str) -> Export:
    facts = {"trainer": "torch" if "model.onnx" in trained.files else "xgboost"}
    model = save_model(objects, spec.name, trained, Signature.of(spec), facts)
    found = {"key": model.key, "digest": model.digest, "snapshot": snapshot}
    metrics = {spec.evaluation.primary: 0.25, f"{spec.evaluation.primary}/line/a": float("nan")}
    version = ModelVersion(version=3, evaluation="e", run_id="r", metrics=metrics, **found)
    return Export(spec, version, TAGS, objects)


def parts(spec: ModelSpec, count: int) -> pd.DataFrame:
    """Parts that are the worse the hotter, on line b more than on line a; some values are missing."""
    random = np.random.default_rng(3)
    heat = random.normal(200, 30, count)
    line = random.choice(["a", "b"], count)
    bad = (heat - 200) / 30 * np.where(line == "b", 2, 1) + random.normal(size=count)
    if spec.task == "multiclass":
        labels: Any = np.array(spec.label.classes)[np.digitize(bad, [-1, 1])]
    else:
        labels = 1000 * bad if spec.task == "regression" else (bad > 0).astype(int)
    frame = pd.DataFrame({"heat": heat, "line": line, spec.label.column: labels})
    frame.loc[::7, "heat"] = np.nan
    frame.loc[::5, "line"] = None
    return frame


def boosted(spec: ModelSpec, frame: pd.DataFrame, parameters: dict[str, Any]) -> Trained:
    signature = Signature.of(spec)
    training = spec.training.model_copy(update={"rounds": 15, "parameters": parameters})
    part = to_part(frame, signature, spec.label.column)
    run = TrainingRun(signature, training, loss_metric(spec.task, spec.evaluation.primary))
    return trainer("xgboost").train(part, part, run)


def graph_of(spec: ModelSpec, width: int = 2, score: str = "scores") -> bytes:
    """An ONNX file as a network's trainer gives: a missing value is a number of its own; a number a row is a vector."""
    outputs = max(1, len(spec.label.classes))
    weights = np.random.default_rng(1).normal(0, 0.03 / width, (width, outputs)).astype(np.float32)
    constants = {
        "seven": np.float32(7),
        "weights": weights,
        "last": np.array([-1, *([outputs] if outputs > 1 else [])]),
    }
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["missing"]),
        helper.make_node("Where", ["missing", "seven", "rows"], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["heat"]),
        helper.make_node(LINKS[spec.task], ["heat"], ["linked"]),
        helper.make_node("Reshape", ["linked", "last"], [score]),
    ]
    shape = ["rows_of_batch", *([outputs] if outputs > 1 else [])]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["rows_of_batch", width])],
        [helper.make_tensor_value_info(score, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
