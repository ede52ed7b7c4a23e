"""Scores the rows of example.json with model.onnx: needs Python, numpy and onnxruntime alone."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
model = onnxruntime.InferenceSession(folder / "model.onnx")
example = json.loads((folder / "example.json").read_text())
columns = {}
for feature in model.get_inputs():
    values = [row[feature.name] for row in example["rows"]]  # None where missing
    is_text = feature.type == "tensor(string)"
    columns[feature.name] = np.array([value or "" for value in values]) if is_text else np.array(values, np.float32)
(scores,) = model.run(["score"], columns)
print(json.dumps(scores.tolist()))
np.testing.assert_allclose(scores, example["scores"], rtol=0, atol=1e-5 * np.abs(scores).max())
