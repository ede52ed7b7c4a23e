"""`kilter backtest --data`, as a stranger uses it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kilter.__main__ import main

ALL = {
    "kilter", "never", "every 2, all history", "every 2, last windows", "always, all history", "always, last windows",
    "always, last window",
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody answers for MLflow."""
    monkeypatch.setenv("KILTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KILTER_MLFLOW", "http://127.0.0.1:9")
    return tmp_path / "home"


def given(stream: Path) -> list[str]:
    return ["backtest", "--data", str(stream), "--label", "y", "--time", "t", "--windows", "6", "--every", "2"]


def found(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "backtest.json").read_text())
    return facts


def test_it_prints_a_table_and_keeps_plot_and_json(
    stream: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given(stream)) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ALL)
    assert "no MLflow run: MLflow does not answer at http://127.0.0.1:9" in printed
    folder = home / "backtests/stream"
    assert (folder / "backtest.png").read_bytes().startswith(b"\x89PNG")
    facts = found(folder)
    assert {item["policy"] for item in facts["policies"]} == ALL
    assert (facts["metric"], facts["rows"], len(facts["windows"]), facts["initial_windows"]) == ("accuracy", 480, 6, 2)
    by_name = {item["policy"]: item for item in facts["policies"]}
    assert [by_name[name]["trainings"] for name in ("never", "every 2, all history", "always, last window")] == [
        1,
        2,
        4,
    ]


def test_policies_stand_side_by_side(stream: Path, tmp_path: Path) -> None:
    for name, saved in (("lazy", 1), ("eager", 5)):
        (tmp_path / f"{name}.yaml").write_text(f"arbiter: {{saved: {saved}, cooldown: 1d}}")
    policies = [part for name in ("lazy", "eager") for part in ("--policy", str(tmp_path / f"{name}.yaml"))]
    assert main([*given(stream), *policies, "--out", str(tmp_path / "out")]) == 0
    assert {item["policy"] for item in found(tmp_path / "out")["policies"]} == ALL - {"kilter"} | {"lazy", "eager"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give a model, or --data FILE with --label and --time"),
        (["rides", "--data", "{stream}"], "give a model, or --data FILE"),
        (["--data", "{stream}", "--label", "y"], "--data needs --label and --time"),
        (
            ["--data", "{stream}", "--label", "y", "--time", "t", "--from", "2013-01-01"],
            "--from and --to are for a model",
        ),
        (["--data", "{stream}", "--label", "y", "--time", "t", "--every", "0"], "--every: got 0"),
        (
            ["--data", "{stream}", "--label", "y", "--time", "t", "--initial", "0"],
            "--initial: got 0, expected 1 or more",
        ),
        (["--data", "{stream}", "--label", "y", "--time", "t", "--initial", "30"], "a backtest needs 30 to train"),
        (["--data", "{stream}", "--label", "x", "--time", "t"], "has no column 'x'; it has: number, kind, y, t"),
        (["flight_delay", "--label", "y"], "--label: for --data only"),
        (["nobody"], "nobody"),
    ],
)
def test_wrong_input_says_the_cure(
    options: list[str], said: str, stream: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", *(part.replace("{stream}", str(stream)) for part in options)]) in (1, 2)
    assert said in capsys.readouterr().err


def test_the_help_shows_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "kilter backtest flight_delay --policy eager.yaml; kilter backtest --data stream.parquet" in printed


@pytest.mark.slow
def test_a_killed_backtest_goes_on_and_finds_the_same(
    stream: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-m", "kilter", *given(stream)],
        env={**os.environ, "KILTER_HOME": str(tmp_path / "killed")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while len(kept := list((tmp_path / "killed").rglob("*.npz"))) < 3:
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    killed.kill()
    assert killed.wait() == -9
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert main(given(stream)) == 0
    monkeypatch.setenv("KILTER_HOME", str(tmp_path / "killed"))
    assert main(given(stream)) == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == before
    undisturbed, resumed = (found(folder / "backtests/stream") for folder in (home, tmp_path / "killed"))
    for item in (*undisturbed["policies"], *resumed["policies"]):
        assert item.pop("seconds") > 0
    assert resumed == undisturbed
