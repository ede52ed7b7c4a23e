"""A model whose source waits, and an installation for it."""

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in the process runtime; the waiting model goes on at once for the years up to 2009."""
    for name in [f"KILTER_{part}" for part in ("OBJECTS", "LEDGER", "STEP_USER")]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KILTER_HOME", str(tmp_path))
    monkeypatch.setenv("KILTER_MODELS", str(Path(__file__).parents[2] / "models"))
    monkeypatch.setenv("KILTER_RUNTIME", "process")
    (tmp_path / "store/go").mkdir(parents=True)
    for year in range(2001, 2010):
        (tmp_path / f"store/go/{year}").touch()
    return tmp_path
