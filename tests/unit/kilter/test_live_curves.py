"""The loss curve in MLflow while a training goes on."""

from __future__ import annotations

import logging
import threading

import pytest

from kilter.errors import InputError, UnavailableError
from kilter.live_curves import LiveCurves
from kilter.stores.registry import MemoryRegistry, Registry

LOG = logging.getLogger("test")


class Watched(MemoryRegistry):
    """Tells when points came."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def log_progress(self, run_id, curves, parameters=None):  # type: ignore[no-untyped-def]
        super().log_progress(run_id, curves, parameters)
        self.came.set()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training is too short to be shown."""
    monkeypatch.setattr("kilter.live_curves.BEGIN_SECONDS", 0.0)


def begin(registry: Registry) -> str:
    return registry.begin_run("m", "a training", {})


@pytest.mark.usefixtures("at_once")
def test_a_training_that_lasts_is_shown_while_it_goes_on_and_its_run_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kilter.live_curves.SEND_SECONDS", 0.01)
    registry = Watched()
    with LiveCurves(lambda: registry, begin, LOG) as curves:
        curves.add(0, 0.5)
        assert registry.came.wait(5)
        assert registry.runs["live-1"].curves["validation_loss"] == [(0, 0.5)]
        curves.add(1, 0.25)
    run = registry.runs[curves.run_id]
    assert run.curves == {"validation_loss": [(0, 0.5), (1, 0.25)]}
    assert run.status == "RUNNING"


def test_a_short_training_opens_no_registry() -> None:
    def never() -> Registry:
        raise AssertionError("opened")

    with LiveCurves(never, begin, LOG) as curves:
        curves.add(0, 0.5)
    assert curves.run_id == ""


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("diverged"), "FAILED"),
        (UnavailableError("the store is away"), "RUNNING"),
        (MemoryError(), "RUNNING"),
        (SystemExit(143), "RUNNING"),
    ],
)
def test_a_training_that_no_retry_cures_has_a_failed_run_and_any_other_can_be_gone_on_with(
    error: BaseException, status: str
) -> None:
    registry = Watched()
    begun = threading.Event()

    def telling(found: Registry) -> str:
        identity = begin(found)
        begun.set()
        return identity

    def training() -> None:
        with LiveCurves(lambda: registry, telling, LOG) as curves:
            curves.add(0, 0.5)
            assert begun.wait(5)
            raise error

    with pytest.raises(type(error)):
        training()
    assert registry.runs["live-1"].status == status
    assert registry.runs["live-1"].curves["validation_loss"] == [(0, 0.5)]


@pytest.mark.usefixtures("at_once")
def test_a_training_does_not_notice_that_mlflow_is_away(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> Registry:
        raise UnavailableError("MLflow is away")

    with LiveCurves(away, begin, LOG) as curves:
        curves.add(0, 0.5)
    assert curves.run_id == ""
    assert caplog.messages == [
        "the loss curve is not shown while training, but with the registered model: MLflow is away"
    ]
