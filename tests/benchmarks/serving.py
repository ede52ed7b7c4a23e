"""How fast the model server answers, beside `mlflow models serve` and MLServer: one run, one model, the same cores.

    .venv/bin/python tests/benchmarks/serving.py [--mlserver PATH/TO/bin/mlserver] [--python PATH/TO/bin/python]

The model: 200 trees of depth 6 on 16 numbers, one in twelve missing. wrk asks over loopback for 1 row on 1 connection,
1 row on 16, and 100 rows on 16; before that, Kilter's and MLflow's scores are compared. Kilter runs as shipped: request
ids, validation, metrics and the prediction log are on. All servers are up throughout; one at a time is asked.
Memory is what a server's processes hold resident after all that, summed.

MLServer wants an environment of its own (`pip install mlserver mlserver-xgboost 'uvloop<0.22'`); without --mlserver it is left out.
--python names an interpreter with only what the serving image holds (docker/serving.lock): the development environment
makes imports longer. Needs wrk. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import mlflow.xgboost
import numpy as np
import psutil
import xgboost
import yaml
from rich.console import Console
from rich.table import Table

from kilter.encoding import Matrix, Signature
from kilter.errors import KilterError
from kilter.services import executable, free_port
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.stores.deployment import Deployment, write_deployment
from kilter.stores.objects import FileObjects, commit_dataset

ROOT = Path(__file__).resolve().parents[2]
MODEL = "speed"
FEATURES = 16
TREES = 200
CELLS = {"1 row, 1 conn.": (1, 1), "1 row, 16 conn.": (1, 16), "100 rows, 16 conn.": (100, 16)}
"""Rows a request, and connections."""
AIMS = {
    "1 row, 1 conn.: req/s": 15.0,
    "1 row, 1 conn.: p50": 10.0,
    "1 row, 16 conn.: req/s": 50.0,
    "1 row, 16 conn.: p99": 40.0,
    "100 rows, 16 conn.: req/s": 5.0,
    "memory": 3.0,
}
"""How many times better than `mlflow models serve` at least."""
_WAIT_SECONDS = 120
_SHOWN = {"rps": 0, "p50": 2, "p99": 2, "cpu": 0}
"""Facts of an answer, and digits."""
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Server:
    """A server to ask.

    Args:
        infers: whether it takes the Open Inference Protocol's body and not MLflow's.
    """

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    infers: bool = False

    def body(self, rows: Matrix) -> str:
        values = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in rows]
        if self.infers:
            flat = [value for row in values for value in row]
            tensor = {"name": "rows", "shape": list(rows.shape), "datatype": "FP32", "data": flat}
            return json.dumps({"inputs": [tensor]})
        return json.dumps({"dataframe_split": {"columns": columns(), "data": values}})

    def memory(self) -> int:
        """Bytes resident, of all its processes."""
        return sum(process.memory_info().rss for process in self._processes())

    def cpu(self) -> float:
        """Seconds that its processes have computed so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


def columns() -> list[str]:
    return [f"x{place}" for place in range(FEATURES)]


def rows(count: int, missing: float = 1 / 12) -> Matrix:
    random = np.random.default_rng(count)
    made = random.normal(size=(count, FEATURES)).astype(np.float32)
    made[random.random(made.shape) < missing] = np.nan
    return made


def train() -> xgboost.Booster:
    data = rows(20_000)
    odds = np.nan_to_num(data[:, 0]) + np.nan_to_num(data[:, 1]) * np.nan_to_num(data[:, 2])
    labels = np.random.default_rng(0).random(len(data)) < 1 / (1 + np.exp(-odds))
    matrix = xgboost.DMatrix(data, label=labels, feature_names=columns())
    return xgboost.train({"objective": "binary:logistic", "max_depth": 6, "eta": 0.1}, matrix, TREES)


def start(name: str, url: str, command: list[str], home: Path, environment: Mapping[str, str]) -> Server:
    log = home / f"{name.replace(' ', '-').replace(',', '')}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=file, stderr=file, cwd=home, start_new_session=True
        )
    return Server(name, url, process, log, infers="/v2/" in url)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """A server, once it scores; its whole process group is ended at the end."""
    try:
        begun = time.monotonic()
        while not scores(server):
            if server.process.poll() is not None or time.monotonic() - begun > _WAIT_SECONDS:
                printed = server.log.read_text()[-2000:]
                raise KilterError(f"{server.name} does not answer after {time.monotonic() - begun:.0f} s:\n{printed}")
            time.sleep(0.1)
        say(f"{server.name} is up after {time.monotonic() - begun:.1f} s")
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGTERM)
        try:
            server.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)


def scores(server: Server) -> Any:
    """What it answers for two rows, or None while it does not."""
    try:
        answer = httpx.post(
            server.url, content=server.body(rows(2, missing=0)), headers={"content-type": "application/json"}
        )
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def kilter(home: Path, booster: xgboost.Booster, python: str, serving: Mapping[str, Any] | None = None) -> Server:
    """Kilter's server on a store with this model as the champion; `serving` is a section for its spec."""
    document = yaml.safe_load((ROOT / "include/models/flight_delay/model.yaml").read_text())
    document["name"], document["features"]["columns"] = MODEL, [{"name": name} for name in columns()]
    document["evaluation"].pop("slices")
    document["gate"].pop("sanity")
    document |= {"serving": dict(serving)} if serving else {}
    models = home / "models"
    shutil.copytree(ROOT / "include/models/flight_delay", models / MODEL)
    (models / MODEL / "model.yaml").write_text(yaml.safe_dump(document))
    objects, port = FileObjects(home / "store"), free_port()
    signature = Signature.of(load_spec(models / MODEL))
    files = {"model.ubj": bytes(booster.save_raw("ubj")), "signature.json": signature.model_dump_json().encode()}
    made = commit_dataset(objects, f"models/{MODEL}", files)
    write_deployment(objects, "champion", MODEL, Deployment(model=MODEL, version=1, key=made.key, digest=made.digest))
    settings = Settings.from_environment({"KILTER_HOME": str(home), "KILTER_MODELS": str(models)})
    command = [python, "-m", "kilter", "serve", "--role", "champion", "--port", str(port)]
    environment = {**settings.to_environment(), "PYTHONPATH": str(ROOT / "include")}
    return start("kilter", f"http://127.0.0.1:{port}/models/{MODEL}/invocations", command, home, environment)


def mlflows(home: Path, booster: xgboost.Booster) -> Server:
    mlflow.xgboost.save_model(booster, home / "mlflow", model_format="ubj")
    port = free_port()
    command = [executable("mlflow", "run 'make venv'"), "models", "serve", "-m", str(home / "mlflow")]
    command += ["-p", str(port), "--env-manager", "local"]
    return start("mlflow models serve", f"http://127.0.0.1:{port}/invocations", command, home, _path())


def mlserver(home: Path, booster: xgboost.Booster, program: str, tuned: bool) -> Server:
    """MLServer as it comes, or in its fastest setting: no workers beside the server, and one thread."""
    folder = home / ("tuned" if tuned else "default")
    folder.mkdir()
    booster.save_model(folder / "model.json")
    port = free_port()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {**ports, "parallel_workers": 0} if tuned else ports
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {
        "name": MODEL,
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": str(folder / "model.json")},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    name = "MLServer, no workers, 1 thread" if tuned else "MLServer"
    threads = {"OMP_NUM_THREADS": "1"} if tuned else {}
    url = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer"
    return start(name, url, [program, "start", str(folder)], home, threads)


def makers(options: argparse.Namespace) -> list[Callable[[Path, xgboost.Booster], Server]]:
    """What starts each server."""
    made: list[Callable[[Path, xgboost.Booster], Server]] = [partial(kilter, python=options.python), mlflows]
    if options.mlserver:
        return [*made, *(partial(mlserver, program=options.mlserver, tuned=tuned) for tuned in (False, True))]
    say("MLServer is left out: name its program with --mlserver")
    return made


def _path() -> dict[str, str]:
    """MLflow calls uvicorn by its name."""
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def ask(server: Server, count: int, connections: int, seconds: int, home: Path) -> dict[str, float]:
    """Requests a second, milliseconds at the median and the 99th percentile, and microseconds computed a request.

    What was computed hardly depends on what else the machine does; the rest needs a quiet one.
    """
    script = home / "wrk.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{server.body(rows(count))}]==]\n'
        "done = function(summary, latency)\n"
        "  local e = summary.errors\n"
        '  io.write(string.format("{\\"requests\\": %d, \\"us\\": %d, \\"failed\\": %d, \\"p50\\": %f, \\"p99\\": %f}\\n",\n'
        "    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,\n"
        "    latency:percentile(50) / 1000, latency:percentile(99) / 1000))\n"
        "end\n"
    )
    command = [wrk(), "-t1", "--timeout", "30s", f"-c{connections}", f"-d{seconds}s", "-s", str(script), server.url]
    before = server.cpu()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent = server.cpu() - before
    found = json.loads(printed.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise KilterError(
            f"{server.name}: {found['failed']} of {found['requests']} requests failed:\n{server.log.read_text()[-2000:]}"
        )
    count = found["requests"]
    return {"rps": count / found["us"] * 1e6, "p50": found["p50"], "p99": found["p99"], "cpu": spent / count * 1e6}


def wrk() -> str:
    program = shutil.which("wrk")
    if program is None:
        raise KilterError("no 'wrk' on the path, which asks the servers: apt-get install wrk")
    return program


def measure(servers: list[Server], seconds: int, home: Path) -> dict[str, dict[str, Any]]:
    """All cells of each server, and its memory in MB."""
    found: dict[str, dict[str, Any]] = {server.name: {} for server in servers}
    for cell, (count, connections) in CELLS.items():
        for server in servers:
            ask(server, count, connections, max(1, seconds // 4), home)
            found[server.name][cell] = answer = ask(server, count, connections, seconds, home)
            say(
                f"{cell}: {server.name}: {answer['rps']:,.0f} requests/s, p99 {answer['p99']:.2f} ms, {answer['cpu']:,.0f} µs of CPU each"
            )
    for server in servers:
        found[server.name]["memory"] = server.memory() / 1e6
    return found


def ratios(found: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """How many times better Kilter is than `mlflow models serve`."""
    ours, theirs = found["kilter"], found["mlflow models serve"]
    made = {}
    for name in AIMS:
        cell, _, fact = name.partition(": ")
        if not fact:
            made[name] = theirs[cell] / ours[cell]
        elif fact == "req/s":
            made[name] = ours[cell]["rps"] / theirs[cell]["rps"]
        else:
            made[name] = theirs[cell][fact] / ours[cell][fact]
    return made


def show(found: Mapping[str, dict[str, Any]], reached: Mapping[str, float]) -> None:
    table = Table("cell", "server", "requests/s", "p50 ms", "p99 ms", "CPU µs a request")
    for cell in CELLS:
        for name, cells in found.items():
            answer = cells[cell]
            table.add_row(cell, name, *(f"{answer[fact]:,.{digits}f}" for fact, digits in _SHOWN.items()))
    console.print(table)
    console.print("; ".join(f"{name}: {cells['memory']:.0f} MB" for name, cells in found.items()))
    table = Table("against mlflow models serve", "times better", "aim")
    for name, ratio in reached.items():
        table.add_row(name, f"{ratio:.1f}", f"{AIMS[name]:g}" + ("" if ratio >= AIMS[name] else "  MISSED"))
    console.print(table)


def say(line: str) -> None:
    """Show progress."""
    console.print(line, style="dim", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlserver", help="MLServer's program; without it MLServer is left out")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs Kilter's server")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement (8); a quarter more to warm up")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wrk()
    booster = train()
    with tempfile.TemporaryDirectory(prefix="kilter-serving-") as folder, ExitStack() as stack:
        home = Path(folder)
        servers = [stack.enter_context(running(make(home, booster))) for make in makers(options)]
        ours, theirs = (scores(server)["predictions"] for server in servers[:2])
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        found = measure(servers, options.seconds, home)
    reached = ratios(found)
    show(found, reached)
    cores = os.cpu_count()
    print(json.dumps({"cores": cores, "load": os.getloadavg()[0], "servers": found, "times_better": reached}))


if __name__ == "__main__":
    try:
        main()
    except KilterError as error:
        sys.exit(f"serving: {error}")
