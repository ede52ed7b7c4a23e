"""An exported folder is there as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kilter.errors import InputError
from kilter.export.folder import write_folder

FILES = {"model.onnx": b"model", "README.md": b"text"}


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["m", "with a space", "deep/er/m"])
def test_a_folder_is_made_with_those_above_it_and_nothing_beside(tmp_path: Path, name: str) -> None:
    assert write_folder(tmp_path / name, FILES)
    assert held(tmp_path / name) == FILES
    assert os.listdir((tmp_path / name).parent) == [Path(name).name]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert write_folder(tmp_path / "m", FILES)
    assert held(tmp_path / "m") == FILES


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="it is the current folder, which would be replaced: name another one"):
        write_folder(Path("."), FILES)
    assert Path.cwd().stat().st_ino == tmp_path.stat().st_ino
    assert held(tmp_path) == {}


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "m").symlink_to("there")
    assert write_folder(tmp_path / "m", FILES)
    assert (tmp_path / "m").is_symlink()
    assert held(tmp_path / "there") == FILES


def test_the_very_same_files_are_left_as_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", FILES)
    before = (tmp_path / "m").stat().st_ino
    assert not write_folder(tmp_path / "m", FILES)
    assert (tmp_path / "m").stat().st_ino == before


@pytest.mark.parametrize(
    "there",
    [{"notes.txt": b"mine"}, {**FILES, "notes.txt": b"mine"}, {**FILES, "README.md": b"other"}, {"README.md": b"text"}],
)
def test_a_folder_that_holds_something_else_is_refused_and_not_touched(tmp_path: Path, there: dict[str, bytes]) -> None:
    write_folder(tmp_path / "m", there)
    with pytest.raises(InputError, match=r"it holds something else, such as .*: name a folder that is absent or empty"):
        write_folder(tmp_path / "m", FILES)
    assert held(tmp_path / "m") == there


def test_a_folder_within_it_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "m/model.onnx").mkdir(parents=True)
    with pytest.raises(InputError, match="it holds something else, such as model"):
        write_folder(tmp_path / "m", {"model.onnx": b""})


@pytest.mark.parametrize(("name", "why"), [("file", "Not a directory"), ("file/m", "File exists")])
def test_a_file_in_its_place_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InputError, match=f"{why}: name a folder"):
        write_folder(tmp_path / name, FILES)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_disk_that_takes_no_more_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    # The kernel refuses files beyond the limit as it does on a full disk: in the middle of a write.
    script = (
        "import resource, signal, sys, pathlib; from kilter.export.folder import write_folder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "write_folder(pathlib.Path(sys.argv[1]), {'small': b'x', 'large': bytes(3000)})"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "m")], capture_output=True, text=True)
    assert "InputError" in ended.stderr
    assert "File too large: name a folder whose parent can be written to, on a disk with 3,001 bytes" in ended.stderr
    assert list(tmp_path.iterdir()) == []
