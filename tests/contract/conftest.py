"""Servers of our own on free ports: S3 (moto's) and MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from kilter.services import free_port

BUCKET = "kilter"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an empty bucket, with boto3 configured to find it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL that listens on a socket in a folder of its own alone."""
    if not POSTGRES:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.geteuid() == 0 else None  # which refuses to run as root
    folder = Path(subprocess.check_output(["mktemp", "-d"], user=user, cwd="/", text=True).strip())
    made = [
        POSTGRES[-1] / "initdb",
        "--pgdata",
        folder / "data",
        "--auth",
        "trust",
        "--username",
        "kilter",
        "--no-sync",
    ]
    subprocess.run(made, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
    control = [POSTGRES[-1] / "pg_ctl", "--pgdata", folder / "data", "--wait", "--log", folder / "log"]
    options = ["--options", f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"]
    subprocess.run([*control, *options, "start"], user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://kilter@/postgres?host={folder}"
    finally:
        subprocess.run(
            [*control, "--mode", "immediate", "stop"], user=user, cwd="/", check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [Path(sys.executable).with_name("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--workers", "1", "--serve-artifacts"]
    command += ["--artifacts-destination", f"file://{home}/artifacts"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for_health(url, server, home / "log")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _wait_for_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            httpx.get(f"{url}/health").raise_for_status()
            return
        except httpx.HTTPError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"MLflow: not up within 180 s: {log.read_text()}"
            time.sleep(0.1)
