"""Airflow's home while testing, and what a test needs of the machine.

A test marked `engine` or `e2e` is skipped where the machine lacks what it needs; with
KILTER_REQUIRE_ENGINE=1, as in CI, that is an error instead.
"""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Airflow reads these when it is imported, and would else settle in the user's home.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="kilter-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test that needs what is not here."""
    lacks = ""
    if item.get_closest_marker("engine"):
        lacks = _engine_lacks()
    if not lacks and item.get_closest_marker("e2e"):
        lacks = _programs_lack()
    if lacks and os.environ.get("KILTER_REQUIRE_ENGINE") == "1":
        pytest.fail(f"KILTER_REQUIRE_ENGINE=1, but {lacks}", pytrace=False)
    if lacks:
        pytest.skip(lacks)


@cache
def _engine_lacks() -> str:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        return f"no Docker engine answers: {error}"
    if not client.images.list("kilter-step:latest"):
        return "there is no image kilter-step:latest: run 'make images'"
    return ""


@cache
def _programs_lack() -> str:
    path = os.pathsep.join([os.environ["PATH"], str(ROOT / ".venv/bin"), "/usr/sbin", "/usr/local/sbin"])
    missing = [name for name in ("airflow", "mlflow", "haproxy") if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else ""
