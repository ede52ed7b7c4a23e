"""`kilter export`: what is refused before anything is asked for. Versions and champions: tests/contract/serving/test_export.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from kilter.__main__ import main


def test_a_model_that_there_is_not_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KILTER_MODELS", str(tmp_path))
    assert main(["export", "no_such_model", "--to", str(tmp_path / "m")]) == 2
    assert "no_such_model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["flight_delay"], ["flight_delay", "--to", "m", "--version", "newest"]])
def test_a_wrong_call_is_wrong_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    assert ended.value.code == 2
    assert "usage: kilter export" in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "Example: kilter export flight_delay --to flight_delay_model" in capsys.readouterr().out
