"""What Airflow and its operators add to a training and its validation, against plain `docker run`.

    .venv/bin/python tests/benchmarks/loop_overhead.py

Side by side, several times, on a model that has a champion: `continuous_training` and the `model_validation` that it
starts, through Airflow; and the same steps by `docker run`, one after the other, with the serving container of the
validation. Every run trains as of another hour, so that none finds the work of another done. Airflow waits idly while
`docker run` is measured. At the end both DAGs run again on inputs that they have seen, where memoised steps are reused.

Needs a Docker engine, and HAProxy. The last line is one JSON object with the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flow import MONTHS, bring_up_champion, train, validate
from installation import Installation, console, installation, say
from plain import Plain
from rich.table import Table

from kilter.step import Result, read_result

TARGET_RATIO = 1.3
TARGET_MEMOISED = 15.0


@dataclass(frozen=True)
class Timing:
    """Seconds of one training and its validation: on the wall, and in all inside `run()`."""

    wall: float
    inside: float


def through_airflow(place: Installation, as_of: datetime) -> tuple[Timing, int]:
    """Both DAGs by one trigger, from there to the end of the validation; also the version that was made."""
    loop, airflow = place.loop, place.airflow
    training, validation = f"{loop.spec.name}.continuous_training", f"{loop.spec.name}.model_validation"
    begun = time.time()
    run = airflow.trigger(training, {"as_of": as_of.isoformat(), "reason": "benchmark"})
    airflow.wait(training, [run])
    version: int = airflow.output(training, run, "register")["version"]
    airflow.wait(validation, [f"version-{version}"])
    wall = _ended(airflow.runs(validation), f"version-{version}") - begun
    results = [*_results(place, training, run), *_results(place, validation, f"version-{version}")]
    return Timing(wall, sum(result.seconds for result in results)), version


def again(place: Installation, as_of: datetime, version: int) -> float:
    """Both DAGs on inputs that they have seen; seconds on the wall."""
    loop, airflow = place.loop, place.airflow
    training, validation = f"{loop.spec.name}.continuous_training", f"{loop.spec.name}.model_validation"
    begun = time.time()
    run = airflow.trigger(training, {"as_of": as_of.isoformat(), "reason": "benchmark"})
    airflow.wait(training, [run])
    run = airflow.trigger(validation, {"version": version})
    airflow.wait(validation, [run])
    return _ended(airflow.runs(validation), run) - begun


def by_docker_run(place: Installation, as_of: datetime) -> Timing:
    """The same steps, one after the other."""
    begun = time.time()
    plain = Plain(place)
    validate(plain.run, plain.server, train(plain.run, as_of))
    return Timing(time.time() - begun, plain.inside)


def _ended(runs: Sequence[Mapping[str, Any]], run_id: str) -> float:
    (run,) = [run for run in runs if run["dag_run_id"] == run_id]
    return datetime.fromisoformat(run["end_date"]).timestamp()


def _results(place: Installation, dag_id: str, run_id: str) -> list[Result]:
    """What the steps of a run committed."""
    objects = place.loop.objects
    found = [read_result(objects, key) for key in objects.list(f"results/{place.loop.spec.name}/")]
    return [result for result in found if result and (result.run.dag_id, result.run.run_id) == (dag_id, run_id)]


def measure(place: Installation, repeats: int) -> dict[str, Any]:
    """Bring up a champion, then measure; all figures are medians."""
    say("ingesting two months and bringing up a champion by docker run")
    plain = Plain(place)
    bring_up_champion(plain.run, plain.server)
    place.loop.wait_for_dags()
    # A version that passes would be rolled out, which is not measured and waits for traffic.
    place.airflow.pause(f"{place.loop.spec.name}.canary_promotion")
    through, bare_ones, memoised = [], [], []
    for repeat in range(repeats):
        hours = iter(MONTHS[-1] - timedelta(hours=2 * repeat + extra) for extra in (1, 2))
        if repeat % 2:
            bare_ones.append(by_docker_run(place, next(hours)))
        as_of = next(hours)
        timing, version = through_airflow(place, as_of)
        through.append(timing)
        if not repeat % 2:
            bare_ones.append(by_docker_run(place, next(hours)))
        memoised.append(again(place, as_of, version))
        say(
            f"{repeat + 1} of {repeats}: Airflow {timing.wall:.1f} s, docker run {bare_ones[-1].wall:.1f} s, again {memoised[-1]:.1f} s"
        )
    wall, bare = statistics.median(item.wall for item in through), statistics.median(item.wall for item in bare_ones)
    inside = statistics.median(item.inside for item in through)
    alone = statistics.median(item.inside for item in bare_ones)
    return {
        "repeats": repeats,
        "airflow_seconds": round(wall, 2),
        "docker_run_seconds": round(bare, 2),
        "airflow_run_seconds": round(inside, 2),
        "docker_run_run_seconds": round(alone, 2),
        "airflow_to_docker_run": round(wall / bare, 3),
        "airflow_to_run": round(wall / inside, 3),
        "docker_run_to_run": round(bare / alone, 3),
        "memoised_seconds": round(statistics.median(memoised), 2),
        "target_airflow_to_docker_run": TARGET_RATIO,
        "target_memoised_seconds": TARGET_MEMOISED,
    }


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    title = f"continuous_training + model_validation: seconds, medians of {figures['repeats']}"
    table = Table(title=title, title_justify="left")
    for column in ("way", "seconds", "in run()", "to docker run", "to run()"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for way, name in (("Airflow", "airflow"), ("docker run", "docker_run")):
        seconds, inside = figures[f"{name}_seconds"], figures[f"{name}_run_seconds"]
        ratios = seconds / figures["docker_run_seconds"], seconds / inside
        table.add_row(way, f"{seconds:.1f}", f"{inside:.1f}", *(f"{ratio:.2f}" for ratio in ratios))
    table.add_row("Airflow again", f"{figures['memoised_seconds']:.1f}", "", "", "")
    console.print(table)
    console.print(
        f"Targets: Airflow to docker run at most {TARGET_RATIO:g}; again, memoised, at most {TARGET_MEMOISED:g} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often each way is measured (default %(default)s)")
    options = parser.parse_args()
    with installation(with_airflow=True) as place:
        figures = measure(place, options.repeats)
    show(figures)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
