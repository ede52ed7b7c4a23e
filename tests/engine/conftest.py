"""One live Airflow for all tests of how steps run in containers."""

from collections.abc import Iterator

import pytest

from .live import Live


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = Live(tmp_path_factory.mktemp("installation"))
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
