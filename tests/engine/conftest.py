"""One live Airflow for all tests of how steps run in containers."""

import os
from collections.abc import Iterator

import pytest

from .live import Live


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("installation")
    for folder in (home, *home.parents[:2]):
        os.chmod(folder, 0o755)  # the step's user must get to the store
    installation = Live(home)
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
