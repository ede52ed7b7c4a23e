"""What a model server tells Prometheus: answers, seconds and errors by model and version, and its memory."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kilter.serving.lookup import Outcome
from kilter.serving.models import LoadedModel
from kilter.serving.prediction_log import AnswerLog

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
_LABELS = ("model", "version")
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Seconds; a row is scored in less than a millisecond."""


class ServerMetrics:
    """The metrics of one server, in a registry of their own.

    `kilter_model_loaded_time_seconds` is the Unix time at which a version was loaded; less
    `process_start_time_seconds` it is how long the first one took.
    """

    def __init__(self, log: AnswerLog) -> None:
        # One process answers, so it counts in memory, also where the environment names a folder to count in: Feast
        # sets one wherever it is imported, children inherit it, and it is gone when the parent is.
        values.ValueClass = values.MutexValue
        self._registry = CollectorRegistry()
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "kilter_requests", "Invocations answered with predictions", _LABELS, registry=self._registry
        )
        self._seconds = Histogram(
            "kilter_request_seconds",
            "Seconds from the whole body to its scores",
            _LABELS,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._errors = Counter(
            "kilter_errors", "Invocations not so answered", (*_LABELS, "status"), registry=self._registry
        )
        self._lookups = Counter(
            "kilter_lookups",
            "Rows whose features were looked up, by what came of it",
            (*_LABELS, "outcome"),
            registry=self._registry,
        )
        self._loaded = Gauge(
            "kilter_model_loaded_time_seconds", "When the version was loaded", _LABELS, registry=self._registry
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_LogCollector(log))
        peak = Gauge("kilter_peak_resident_memory_bytes", "The most memory resident at once", registry=self._registry)
        peak.set_function(peak_memory)

    def answered(self, model: str, version: int, seconds: float) -> None:
        """Count an answer."""
        key = (model, version)
        if key not in self._answered:
            # Looking a series up by its labels takes longer than adding to it.
            self._answered[key] = (self._requests.labels(*key), self._seconds.labels(*key))
        requests, duration = self._answered[key]
        requests.inc()
        duration.observe(seconds)

    def looked_up(self, model: str, version: int, outcomes: Sequence[Outcome]) -> None:
        """Count the rows of a look-up by their outcomes."""
        for outcome, rows in collections.Counter(outcomes).items():
            self._lookups.labels(model, version, outcome).inc(rows)

    def refused(self, model: str, version: int | None, status: int) -> None:
        """Count an invocation that got no predictions; `version` is None where none is loaded."""
        self._errors.labels(model, "" if version is None else version, status).inc()

    def text(self, held: Iterable[LoadedModel]) -> bytes:
        """All of it in Prometheus' text format, with the versions that are held now."""
        self._loaded.clear()
        for model in held:
            self._loaded.labels(model.deployment.model, model.deployment.version).set(model.loaded_at)
        return generate_latest(self._registry)


class _LogCollector(Collector):
    """What became of the rows of the prediction log, asked when Prometheus asks."""

    def __init__(self, log: AnswerLog) -> None:
        self._log = log

    def collect(self) -> Iterator[Metric]:
        state = self._log.state
        yield CounterMetricFamily("kilter_log_rows", "Rows that the store has", state.logged)
        yield CounterMetricFamily("kilter_log_dropped_rows", "Rows that it will never have", state.dropped)
        yield CounterMetricFamily("kilter_log_torn_bytes", "Bytes of a killed process's last write", state.torn_bytes)
        yield GaugeMetricFamily("kilter_log_waiting_rows", "Rows in memory and spool", state.waiting)
        yield GaugeMetricFamily("kilter_log_spool_bytes", "Bytes of the spool", state.spool_bytes)


def peak_memory(status: Path = Path("/proc/self/status")) -> float:
    """The most bytes that this process held resident at once; NaN where the system has no /proc.

    Not `ru_maxrss`, which a process inherits from the one that started it, also when that was larger.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return float("nan")
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))
