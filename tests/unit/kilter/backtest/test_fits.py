"""Each training is made once, and kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilter.backtest.fits import Fits
from kilter.backtest.history import History
from kilter.backtest.stream import read_stream
from kilter.errors import DataError


@pytest.fixture
def history(stream: Path) -> History:
    return read_stream(stream, "y", "t", windows=6)


def refused(*_: Any) -> Any:
    raise AssertionError("trained anew")


def test_a_training_is_made_once(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(history, tmp_path)
    first = fits.fit((0, 1), 1)
    monkeypatch.setattr(Fits, "_train", refused)
    assert fits.fit(range(2), 5) is first
    kept = Fits(history, tmp_path).fit((0, 1), 1)
    assert kept.seconds == first.seconds
    for name in ("scores", "losses", "test", "windows", "rows"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(first, name))


def test_another_history_shares_nothing(
    history: History, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fits(history, tmp_path).fit((0, 1), 1)
    monkeypatch.setattr(Fits, "_train", refused)
    with pytest.raises(AssertionError, match="anew"):
        Fits(read_stream(stream, "y", "t", windows=7), tmp_path).fit((0, 1), 1)


def test_half_a_file_is_no_training(history: History, tmp_path: Path) -> None:
    first = Fits(history, tmp_path)
    first.fit((0, 1), 1)
    (kept,) = tmp_path.rglob("*.npz")
    kept.rename(kept.with_suffix(".99.half"))
    np.testing.assert_array_equal(Fits(history, tmp_path).fit((0, 1), 1).scores, first.fit((0, 1), 1).scores)


def test_a_model_scores_every_row_and_examines_only_its_newest(history: History, tmp_path: Path) -> None:
    fit = Fits(history, tmp_path).fit((0, 1, 3), 3)
    assert fit.scores.shape == fit.losses.shape == (480,)
    assert set(np.unique(fit.losses)) <= {0.0, 2.0}
    assert fit.test.tolist() == list(range(284, 320))
    assert fit.windows == (0, 1, 3)


def test_what_a_training_cannot_do_is_told(history: History, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled row was known in the windows 3 when window 2 ended"):
        Fits(history, tmp_path).fit((3,), 2)
