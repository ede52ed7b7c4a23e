"""The commands of serving, and what they import."""

import subprocess
import sys
from pathlib import Path

from kilter.__main__ import main

MODELS = Path(__file__).parents[4] / "include/models"
HEAVY = ("boto3", "feast", "httpx", "mlflow", "pandas", "pyarrow", "sklearn", "sqlalchemy", "xgboost")


def test_haproxy_config_prints_a_back_end_for_every_model_folder(monkeypatch, capsys):
    monkeypatch.setenv("KILTER_MODELS", str(MODELS))
    assert main(["haproxy-config", "--listen", "0.0.0.0"]) == 0
    printed = capsys.readouterr().out
    assert "backend flight_delay" in printed
    assert "bind 0.0.0.0:8900" in printed


def test_haproxy_config_without_models_is_wrong_input(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KILTER_MODELS", str(tmp_path))
    assert main(["haproxy-config"]) == 2
    assert "KILTER_MODELS" in capsys.readouterr().err


def test_a_server_imports_nothing_heavy_before_it_loads_a_model():
    names = ["models", "prediction_log", "request", "server", "haproxy"]
    code = f"import sys, {', '.join(f'kilter.serving.{name}' for name in names)}\n"
    code += f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
