"""The digest of the installed packages."""

from pathlib import Path

import pytest

from kilter.environment import environment_digest


def test_a_package_more_or_another_version_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = [environment_digest()]
    metadata = tmp_path / "extra-1.0.dist-info/METADATA"
    metadata.parent.mkdir()
    for version in ("1.0", "1.1"):
        metadata.write_text(f"Metadata-Version: 2.1\nName: extra\nVersion: {version}\n")
        found.append(environment_digest())
    assert len({*found}) == 3
    assert environment_digest() == found[-1]
