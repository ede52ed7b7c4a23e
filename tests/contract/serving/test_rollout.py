"""Whole rollouts with the real steps: real servers and HAProxy under traffic without pause."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from kilter.core.verdict import Verdict
from kilter.errors import InputError, UnavailableError
from kilter.spec import ModelSpec
from kilter.step import RunInfo, StepContext, Stores, load_step
from kilter.stores.ledger import Ledger
from kilter.stores.registry import MemoryRegistry, PipelineRun
from kilter.stores.router import Router
from kilter.stores.servers import Servers

from .conftest import MODEL, Installation, Traffic, make_model, wait_until


class Rollouts:
    """Runs the rollout steps against the installation, with its own ledger and registry."""

    def __init__(self, installation: Installation, home: Path) -> None:
        self.installation = installation
        self.spec = installation.spec
        # Models of random labels score as they like.
        self.with_canary(allowed_score_shift=None)
        self.registry = MemoryRegistry()
        self.ledger = Ledger(f"sqlite:///{home}/ledger.db")
        self.ledger.migrate()

    def run(self, name: str, **inputs: object):
        step = load_step(name)
        stores = Stores(self.installation.settings, self.spec)
        stores.__dict__ |= {"registry": self.registry, "ledger": self.ledger}
        context = StepContext(self.spec, self.installation.settings.models / MODEL, stores, step.STEP, RunInfo())
        return step.run(step.Inputs(**inputs), context)

    def register(self, seed: int, spec: ModelSpec | None = None) -> int:
        made = make_model(self.installation.objects, spec or self.spec, seed)
        names = dict.fromkeys(("name", "dataset", "dataset_digest", "snapshot", "evaluation"), "")
        run = PipelineRun(
            model=MODEL, key=made.key, digest=made.digest, parameters={}, metrics={}, tags={}, dataset_rows=0, **names
        )
        version = self.registry.register(run, Path()).version
        self.registry.set_alias(MODEL, "candidate", version)
        return version

    def first_champion(self) -> int:
        version = self.register(1)
        self.run("promote", rollout=self.run("stage", version=version).rollout)
        return version

    def climb(self, version: int) -> int:
        """Stage and shift through all weights; every one must pass. Return the rollout."""
        rollout = self.run("stage", version=version).rollout
        for weight in self.spec.canary.weights:
            self.run("shift", rollout=rollout, weight=weight)
            judged = self.run("judge_canary", rollout=rollout, weight=weight)
            assert judged.verdict is Verdict.PASSED, judged.reason
        return rollout

    def held(self, role: str) -> int:
        deployment = self.installation.servers.deployed(role, MODEL)
        return deployment.version if deployment else 0

    def with_canary(self, **rules: object) -> None:
        """Change the spec's rules for canaries."""
        self.spec = self.spec.model_copy(update={"canary": self.spec.canary.model_copy(update=rules)})


@pytest.fixture
def rollouts(installation: Installation, tmp_path: Path) -> Rollouts:
    for role in ("champion", "canary"):
        installation.servers.withdraw(role, MODEL)
        wait_until(lambda role=role: not installation.router.counters(MODEL)[role].up, f"HAProxy notices, {role}")
    return Rollouts(installation, tmp_path)


def test_the_first_version_becomes_champion_without_a_canary(rollouts):
    version = rollouts.register(1)
    staged = rollouts.run("stage", version=version)
    assert staged.first
    assert rollouts.held("canary") == 0
    promoted = rollouts.run("promote", rollout=staged.rollout)
    assert (promoted.version, promoted.predecessor) == (1, None)
    assert rollouts.registry.champion(MODEL) == 1
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        wait_until(lambda: len(traffic.versions) > 20, "answers")
    assert set(traffic.versions) == {1}
    assert not traffic.failures


def test_a_good_candidate_is_promoted_and_no_request_fails(rollouts):
    rollouts.first_champion()
    candidate = rollouts.register(2)
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollout = rollouts.climb(candidate)
        promoted = rollouts.run("promote", rollout=rollout)
        enough = len(traffic.versions) + 50
        wait_until(lambda: len(traffic.versions) > enough, "answers of the new champion")
    assert traffic.failures == []
    assert traffic.versions[-20:] == [2] * 20
    assert (promoted.version, promoted.predecessor) == (2, 1)
    assert (rollouts.held("champion"), rollouts.held("canary")) == (2, 1)
    aliases = {
        name: rollouts.registry.alias(MODEL, name) for name in ("champion", "predecessor", "canary", "candidate")
    }
    assert aliases == {"champion": 2, "predecessor": 1, "canary": None, "candidate": None}
    assert rollouts.installation.router.weights(MODEL) == {"champion": 100, "canary": 0}
    row = rollouts.ledger.rollout(rollout)
    assert (row["state"], row["weight"]) == ("promoted", 0)
    assert rollouts.run("promote", rollout=rollout) == promoted
    assert not rollouts.run("roll_back", version=2).rolled_back


def test_a_candidate_that_cannot_be_staged_blocks_no_other(rollouts, monkeypatch):
    rollouts.first_champion()
    broken, good = rollouts.register(2), rollouts.register(3)
    known = rollouts.registry.version

    def without_a_file(model, version):
        found = known(model, version)
        return found.model_copy(update={"key": f"models/{MODEL}/elsewhere"}) if version == broken else found

    monkeypatch.setattr(rollouts.registry, "version", without_a_file)
    with pytest.raises(InputError, match="give the registry's key"):
        rollouts.run("stage", version=broken)
    with pytest.raises(InputError, match=r"version 2 \(rollout 2, staged\) is being rolled out"):
        rollouts.run("stage", version=good)
    ended = rollouts.run("roll_back", version=broken)
    assert (ended.rolled_back, ended.reason) == (True, "broken off after: version 2 staged")
    assert (rollouts.registry.alias(MODEL, "canary"), rollouts.held("canary")) == (None, 0)
    assert rollouts.run("stage", version=good).rollout


def test_staging_again_while_shifting_that_fails_is_rolled_back_too(rollouts, monkeypatch):
    rollouts.first_champion()
    candidate = rollouts.register(2)
    rollout = rollouts.run("stage", version=candidate).rollout
    rollouts.run("shift", rollout=rollout, weight=50)
    with monkeypatch.context() as broken:
        broken.setattr(rollouts.registry, "set_alias", _away)
        with pytest.raises(UnavailableError):
            rollouts.run("stage", version=candidate)
    assert rollouts.run("roll_back", version=candidate).rolled_back
    assert rollouts.installation.router.weights(MODEL) == {"champion": 100, "canary": 0}
    assert (rollouts.registry.alias(MODEL, "canary"), rollouts.held("canary")) == (None, 0)
    assert rollouts.ledger.open_rollout(MODEL) is None


def test_nothing_is_rolled_back_when_no_rollout_of_the_version_began(rollouts):
    rollouts.first_champion()
    begun = rollouts.run("stage", version=rollouts.register(2)).rollout
    ended = rollouts.run("roll_back", version=rollouts.register(3))
    assert (ended.rolled_back, ended.reason) == (False, "no rollout of version 3 began")
    assert rollouts.ledger.rollout(begun)["state"] == "staged"


def test_a_lost_champion_alias_makes_nobody_the_first_version(rollouts):
    champion = rollouts.first_champion()
    rollouts.registry.remove_alias(MODEL, "champion")
    candidate = rollouts.register(2)
    words = r"no version has the alias 'champion' in MLflow, but version 1 was promoted last: set the alias"
    with pytest.raises(InputError, match=words):
        rollouts.run("stage", version=candidate)
    rollouts.registry.set_alias(MODEL, "champion", champion)
    assert not rollouts.run("stage", version=candidate).first


def test_a_champion_server_that_holds_a_version_makes_nobody_the_first_version(rollouts):
    held = make_model(rollouts.installation.objects, rollouts.spec, 9)
    rollouts.installation.servers.deploy("champion", MODEL, 9, held.key, held.digest)
    with pytest.raises(InputError, match="version 9 is on the champion server: set the alias"):
        rollouts.run("stage", version=rollouts.register(1))


def test_rolling_back_a_first_version_unloads_that_version_only(rollouts, monkeypatch):
    first = rollouts.register(1)
    rollout = rollouts.run("stage", version=first).rollout
    with monkeypatch.context() as broken:
        broken.setattr(rollouts.registry, "set_alias", _away)
        with pytest.raises(UnavailableError):
            rollouts.run("promote", rollout=rollout)
    assert rollouts.held("champion") == first
    assert rollouts.run("stage", version=first).first
    assert rollouts.run("roll_back", version=first).rolled_back
    assert rollouts.held("champion") == 0


def test_rolling_back_a_first_version_leaves_a_champion_that_was_named_meanwhile(rollouts):
    first, named = rollouts.register(1), rollouts.register(2)
    rollouts.run("stage", version=first)
    made = rollouts.registry.version(MODEL, named)
    rollouts.installation.servers.deploy("champion", MODEL, named, made.key, made.digest)
    rollouts.registry.set_alias(MODEL, "champion", named)
    assert rollouts.run("roll_back", version=first).rolled_back
    assert (rollouts.held("champion"), rollouts.registry.champion(MODEL)) == (named, named)


def test_promotion_broken_off_anywhere_is_finished_by_running_it_again(rollouts, monkeypatch):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollout = rollouts.climb(rollouts.register(2))
        calls = [
            (Servers, "deploy"),
            (Router, "wait_until_up"),
            (Router, "shift"),
            (rollouts.registry, "set_alias"),
            (rollouts.registry, "remove_alias"),
            (rollouts.ledger, "advance_rollout"),
        ]
        for owner, name in calls:
            with monkeypatch.context() as broken:
                broken.setattr(owner, name, _away)
                with pytest.raises(UnavailableError):
                    rollouts.run("promote", rollout=rollout)
            assert rollouts.ledger.rollout(rollout)["state"] == "shifting"
        rollouts.run("promote", rollout=rollout)
    assert rollouts.ledger.rollout(rollout)["state"] == "promoted"
    assert (rollouts.held("champion"), rollouts.held("canary")) == (2, 1)
    assert rollouts.registry.champion(MODEL) == 2
    assert traffic.failures == []


def test_rolling_back_a_promotion_that_broke_off_restores_the_champion(rollouts, monkeypatch):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollout = rollouts.climb(rollouts.register(2))
        with monkeypatch.context() as broken:
            broken.setattr(rollouts.registry, "remove_alias", _away)
            with pytest.raises(UnavailableError):
                rollouts.run("promote", rollout=rollout)
        assert rollouts.run("roll_back", version=2).rolled_back
        enough = len(traffic.versions) + 30
        wait_until(lambda: len(traffic.versions) > enough, "answers")
    assert traffic.failures == []
    assert traffic.versions[-10:] == [1] * 10
    assert rollouts.registry.champion(MODEL) == 1
    assert rollouts.held("champion") == 1


def test_a_killed_canary_is_not_passed_and_rolled_back(rollouts):
    installation = rollouts.installation
    rollouts.first_champion()
    rollouts.with_canary(minimum_requests=100_000)
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    try:
        with Traffic(installation.settings.endpoint) as traffic:
            rollouts.run("shift", rollout=rollout, weight=50)
            wait_until(lambda: 2 in traffic.versions, "the canary answers")
            installation.kill("canary")
            started = time.monotonic()
            judged = rollouts.run("judge_canary", rollout=rollout, weight=50)
            assert judged.verdict in (Verdict.FAILED, Verdict.ERROR), judged.reason
            assert time.monotonic() - started < 10
            assert rollouts.run("roll_back", version=2).reason == judged.reason
        # Only what the killed process had in its hands can be lost: at most one request a client.
        assert len(traffic.failures) <= 2
        assert installation.router.weights(MODEL) == {"champion": 100, "canary": 0}
        assert rollouts.registry.alias(MODEL, "canary") is None
        assert rollouts.ledger.rollout(rollout)["state"] == "rolled_back"
    finally:
        installation.start_server("canary")
        installation.wait_for_server("canary")


def test_a_candidate_that_refuses_what_clients_send_fails(rollouts):
    rollouts.first_champion()
    features = rollouts.spec.features
    renamed = (features.columns[0].model_copy(update={"name": "renamed"}), *features.columns[1:])
    spec = rollouts.spec.model_copy(update={"features": features.model_copy(update={"columns": renamed})})
    candidate = rollouts.register(2, spec)
    rollout = rollouts.run("stage", version=candidate).rollout
    rollouts.run("shift", rollout=rollout, weight=50)
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        judged = rollouts.run("judge_canary", rollout=rollout, weight=50)
    assert judged.verdict is Verdict.FAILED, judged.reason
    assert judged.reason.startswith("refused surely worse than allowed")
    assert set(traffic.versions) == {1}
    assert rollouts.run("roll_back", version=candidate).reason == judged.reason


def test_without_traffic_the_verdict_is_inconclusive_and_never_passed(rollouts):
    rollouts.first_champion()
    rollouts.with_canary(maximum_duration=timedelta(seconds=1))
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    rollouts.run("shift", rollout=rollout, weight=100)
    judged = rollouts.run("judge_canary", rollout=rollout, weight=100)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "canary got 0 of 25" in judged.reason
    with pytest.raises(InputError, match="has not passed at weight 100"):
        rollouts.run("promote", rollout=rollout)
    assert rollouts.run("roll_back", version=2).rolled_back
    assert rollouts.run("roll_back", version=2).rolled_back
    assert rollouts.held("canary") == 0


def test_a_restarted_haproxy_gets_its_weights_back_while_judging(rollouts):
    installation = rollouts.installation
    rollouts.first_champion()
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    rollouts.run("shift", rollout=rollout, weight=50)
    installation.kill("haproxy")
    installation.start_haproxy()
    assert installation.router.weights(MODEL)["canary"] == 0
    with Traffic(installation.settings.endpoint) as traffic:
        assert rollouts.run("judge_canary", rollout=rollout, weight=50).verdict is Verdict.PASSED
    assert installation.router.weights(MODEL)["canary"] == 50
    assert traffic.failures == []
    rollouts.run("roll_back", version=2)


def test_steps_of_an_ended_rollout_are_refused(rollouts):
    rollouts.first_champion()
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    with pytest.raises(InputError, match="at weight 0, not 50"):
        rollouts.run("judge_canary", rollout=rollout, weight=50)
    rollouts.run("roll_back", version=2)
    for step in ("shift", "judge_canary"):
        with pytest.raises(InputError, match="ended rolled_back"):
            rollouts.run(step, rollout=rollout, weight=10)
    with pytest.raises(InputError, match="ended rolled_back"):
        rollouts.run("promote", rollout=rollout)
    with pytest.raises(InputError, match="is the champion already"):
        rollouts.run("stage", version=1)


def _away(*arguments: object, **named: object) -> None:
    raise UnavailableError("away")
