"""A source that tells from inside how its step runs, and waits until the test says go."""

import json
import os
import time
import uuid
from datetime import datetime
from pathlib import Path
from urllib.parse import urlparse

import pandas as pd


def extract(start: datetime, end: datetime) -> dict[str, pd.DataFrame]:
    """Mark that it began, wait for the object `go/<year of end>`, and return what it sees around it.

    It holds 200 MB meanwhile, more than the smallest model's limit.
    """
    ballast = b"x" * (200 * 2**20)
    store = Path(urlparse(os.environ["KILTER_OBJECTS"]).path)
    (store / "begun").mkdir(exist_ok=True)
    (store / "begun" / f"{end:%Y}-{uuid.uuid4().hex}").touch()
    while not (store / "go" / f"{end:%Y}").exists():
        time.sleep(0.02)
    return {"facts": pd.DataFrame({"at": [start], "facts": [json.dumps(_facts() | {"held": len(ballast)})]})}


def _facts() -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "capabilities": status["CapEff"].strip(),
        "bounding": status["CapBnd"].strip(),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "writable": [folder for folder in ("/", "/etc", "/opt/kilter", "/tmp") if _writable(Path(folder))],
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "secrets": sorted(name for name in os.environ if name.startswith(("AWS_", "AIRFLOW"))),
    }


def _writable(folder: Path) -> bool:
    probe = folder / f"probe-{uuid.uuid4().hex}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True
