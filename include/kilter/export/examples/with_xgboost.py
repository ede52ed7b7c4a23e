"""Scores the rows of example.json with model.ubj: needs Python, numpy and xgboost alone."""

import json
from pathlib import Path

import numpy as np
import xgboost

folder = Path(__file__).parent
model = xgboost.Booster(model_file=folder / "model.ubj")
features = json.loads((folder / "signature.json").read_text())["features"]
example = json.loads((folder / "example.json").read_text())
rows = np.full((len(example["rows"]), len(features)), np.nan, np.float32)
for column, feature in enumerate(features):
    codes = {category: code for code, category in enumerate(feature["categories"])}
    values = [row[feature["name"]] for row in example["rows"]]  # None where missing
    rows[:, column] = [codes.get(value, np.nan) for value in values] if codes else np.array(values, np.float32)
scores = model.inplace_predict(rows, missing=np.nan, validate_features=False)
print(json.dumps(scores.tolist()))
np.testing.assert_allclose(scores, example["scores"], rtol=0, atol=1e-5 * np.abs(scores).max())
