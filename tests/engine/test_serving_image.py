"""What was taken out of the serving image is not missed by what reads features online."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kilter_airflow.settings import RuntimeSettings

PROGRAM = """
import json, sys
from datetime import timedelta
from pathlib import Path
from kilter.errors import UnavailableError
from kilter.spec import load_spec
from kilter.stores.online import FeastOnline

said = []
for store in sys.argv[1:]:
    try:
        FeastOnline(load_spec(Path("/opt/kilter/models/flight_delay")), store, timeout=timedelta(seconds=1)).read(["a"])
    except UnavailableError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.fixture
def client() -> Iterator[Any]:
    import docker

    with closing(docker.from_env()) as client:
        yield client


@pytest.mark.engine
def test_it_reads_online_stores_of_both_kinds(client: Any, tmp_path: Path) -> None:
    (tmp_path / "online.db").touch()
    tmp_path.chmod(0o755)
    said = client.containers.run(
        RuntimeSettings.from_environment(os.environ).serving_image,
        entrypoint=["python", "-c", PROGRAM, "/state/online.db", "redis://127.0.0.1:1"],
        volumes={str(tmp_path): {"bind": "/state", "mode": "ro"}},
        network_mode="none",
        remove=True,
    )
    sqlite, redis = json.loads(said.splitlines()[-1])
    assert "no such table: kilter_flight_delay" in sqlite
    assert "online store redis://127.0.0.1:1: Error" in redis
