"""A folder of files that is there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kilter.errors import InputError

_SHOWN = 3


def write_folder(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Write files into a new or empty folder, and the folders above it where they lack.

    They are written beside it under a hidden name, which then becomes the folder's. Whoever kills the process leaves that hidden folder.

    Returns:
        False when the folder holds these very files, and nothing else, already; nothing is touched then.

    Raises:
        InputError: the folder holds something else, is the current one, cannot be written, or the disk is full; nothing is
            left behind.
    """
    target = folder.resolve()
    try:
        if _holds(target, files):
            return False
        _refuse_current(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, files)
    except OSError as error:
        size = sum(map(len, files.values()))
        raise InputError(
            f"--to '{folder}': {error.strerror}: name a folder whose parent can be written to, on a disk with "
            f"{size:,} bytes to spare"
        ) from error
    return True


def _holds(target: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the folder is complete already; an InputError where it is neither that nor empty nor absent."""
    found = {path.name: path for path in target.iterdir()} if target.exists() else {}
    if found.keys() == files.keys() and all(
        path.is_file() and path.read_bytes() == files[name] for name, path in found.items()
    ):
        return True
    if found:
        raise InputError(
            f"--to '{target}': it holds something else, such as {', '.join(sorted(found)[:_SHOWN])}: "
            "name a folder that is absent or empty, or remove what is in this one"
        )
    return False


def _refuse_current(target: Path) -> None:
    """Whoever stands in a folder that is replaced would stand in one that is gone."""
    if target.exists() and target.samefile(Path.cwd()):
        raise InputError(f"--to '{target}': it is the current folder, which would be replaced: name another one")


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=".export-"))
    try:
        for name, data in files.items():
            with (partial / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        partial.chmod(0o755)
        # Takes the place of an empty folder, and of no other.
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
