"""Whole rollouts with the real steps: real servers and HAProxy under traffic without pause."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from kilter import observation
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
        self._threads = ThreadPoolExecutor()

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
        for judged in self.judged(rollout):
            assert judged.verdict is Verdict.PASSED, judged.reason
        return rollout

    def judged(self, rollout: int):
        """The steps from the shadow to the last weight, one after the other."""
        yield self.run("shadow", rollout=rollout)
        for weight in self.spec.canary.weights:
            yield self.run("canary", rollout=rollout, weight=weight)

    def to_weight(self, version: int, weight: int) -> int:
        """Stage, and pass all steps before this weight, on traffic of its own. Return the rollout."""
        rollout = self.run("stage", version=version).rollout
        with Traffic(self.installation.settings.endpoint):
            steps = self.judged(rollout)
            for _ in range(1 + self.spec.canary.weights.index(weight)):
                assert next(steps).verdict is Verdict.PASSED
        return rollout

    def begin(self, name: str, **inputs: object) -> Future:
        """Run a step in a thread."""
        return self._threads.submit(self.run, name, **inputs)

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
    assert rollouts.ledger.provisional(MODEL)["id"] == rollout
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
    rollouts.to_weight(candidate, 50)
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
            assert rollouts.ledger.rollout(rollout)["state"] == "promoting"
        rollouts.run("promote", rollout=rollout)
    assert rollouts.ledger.rollout(rollout)["state"] == "promoted"
    assert (rollouts.held("champion"), rollouts.held("canary")) == (2, 1)
    assert rollouts.registry.champion(MODEL) == 2
    assert traffic.failures == []


@pytest.mark.parametrize("moment", [(Servers, "deploy"), (MemoryRegistry, "remove_alias")])
def test_a_promotion_that_somebody_aborts_in_any_moment_leaves_the_champion(rollouts, monkeypatch, moment):
    rollouts.first_champion()
    owner, name = moment
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollout = rollouts.climb(rollouts.register(2))
        original = getattr(owner, name)

        def aborted_first(*arguments, **named):
            monkeypatch.setattr(owner, name, original)
            rollouts.run("control_rollout", action="abort", reason="complaints")
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, aborted_first)
        with pytest.raises(InputError, match="rolled_back"):
            rollouts.run("promote", rollout=rollout)
        enough = len(traffic.versions) + 30
        wait_until(lambda: len(traffic.versions) > enough, "answers")
    assert traffic.failures == []
    assert traffic.versions[-10:] == [1] * 10
    assert (rollouts.held("champion"), rollouts.registry.champion(MODEL)) == (1, 1)
    assert rollouts.ledger.rollout(rollout)["state"] == "rolled_back"
    assert rollouts.installation.router.weights(MODEL) == {"champion": 100, "canary": 0}


def test_a_rollout_held_before_its_promotion_is_promoted_when_it_was_resumed(rollouts):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint):
        rollout = rollouts.climb(rollouts.register(2))
        rollouts.run("control_rollout", action="hold", reason="wait for Monday")
        held = rollouts.run("promote", rollout=rollout)
        assert (held.held, held.reason) == (True, "hold: wait for Monday")
        assert rollouts.registry.champion(MODEL) == 1
        rollouts.run("control_rollout", action="resume")
        assert not rollouts.run("promote", rollout=rollout).held
    assert rollouts.registry.champion(MODEL) == 2


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


def test_a_canary_that_stays_down_is_held_and_its_users_are_answered_by_the_champion(rollouts, monkeypatch):
    monkeypatch.setattr(observation, "_RETURN_SECONDS", 2.0)
    installation = rollouts.installation
    rollouts.first_champion()
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    rollouts.with_canary(minimum_requests=100_000)
    try:
        with Traffic(installation.settings.endpoint) as traffic:
            judging = rollouts.begin("canary", rollout=rollout, weight=50)
            wait_until(lambda: installation.router.weights(MODEL)["canary"] == 50, "the canary's share")
            installation.kill("canary")
            judged = judging.result(timeout=60)
        # What the killed process had in its hands can be lost: at most one request a client.
        assert len(traffic.failures) <= 2
        if judged.verdict is not Verdict.FAILED:
            assert (judged.verdict, judged.held) == (Verdict.ERROR, True)
            assert judged.reason.startswith("the canary server is down")
        assert installation.router.weights(MODEL) == {"champion": 100, "canary": 0}
        assert rollouts.ledger.rollout(rollout)["state"] == "held"
    finally:
        installation.start_server("canary")
        installation.wait_for_server("canary")
        rollouts.run("control_rollout", action="abort")


def test_a_canary_that_restarts_in_time_goes_on(rollouts, monkeypatch):
    monkeypatch.setattr(observation, "_RETURN_SECONDS", 60.0)
    installation = rollouts.installation
    rollouts.first_champion()
    # A killed server answers nobody for a moment: what it had in its hands is no fault of the model.
    rollouts.with_canary(allowed_error_rate=0.3)
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    with Traffic(installation.settings.endpoint) as traffic:
        judging = rollouts.begin("canary", rollout=rollout, weight=50)
        wait_until(lambda: rollouts.installation.router.weights(MODEL)["canary"] == 50, "the canary's share")
        installation.kill("canary")
        installation.start_server("canary")
        judged = judging.result(timeout=60)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert len(traffic.failures) <= 2
    rollouts.run("control_rollout", action="abort")


def test_a_canary_that_dies_while_it_gets_everything_is_replaced_by_the_champion(rollouts):
    installation = rollouts.installation
    rollouts.first_champion()
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    installation.router.shift(MODEL, 100)
    try:
        with Traffic(installation.settings.endpoint) as traffic:
            wait_until(lambda: 2 in traffic.versions, "the canary answers")
            before = installation.router.counters(MODEL)["champion"].requests
            installation.kill("canary")
            wait_until(lambda: traffic.versions[-1] == 1, "the champion answers in its place", 5)
        assert len(traffic.failures) <= 2
        assert installation.router.counters(MODEL)["champion"].requests > before
    finally:
        installation.start_server("canary")
        installation.wait_for_server("canary")
        rollouts.run("roll_back", version=rollouts.ledger.rollout(rollout)["candidate"])


def test_a_candidate_that_refuses_what_clients_send_fails(rollouts):
    rollouts.first_champion()
    features = rollouts.spec.features
    renamed = (features.columns[0].model_copy(update={"name": "renamed"}), *features.columns[1:])
    spec = rollouts.spec.model_copy(update={"features": features.model_copy(update={"columns": renamed})})
    candidate = rollouts.register(2, spec)
    rollout = rollouts.run("stage", version=candidate).rollout
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        judged = rollouts.run("shadow", rollout=rollout)
    assert (judged.verdict, judged.held) == (Verdict.FAILED, False), judged.reason
    assert judged.reason.startswith("refused surely worse than allowed")
    assert set(traffic.versions) == {1}
    assert not traffic.failures, "users saw nothing of it"
    with pytest.raises(InputError, match="failed: abort it"):
        rollouts.run("control_rollout", action="resume")
    assert rollouts.run("shadow", rollout=rollout).verdict is Verdict.FAILED
    assert rollouts.run("roll_back", version=candidate).reason == judged.reason


@pytest.mark.parametrize("inconclusive", ["hold", "roll_back"])
def test_without_traffic_nothing_passes_and_the_spec_says_what_follows(rollouts, inconclusive):
    rollouts.first_champion()
    rollouts.with_canary(maximum_duration=timedelta(seconds=1), inconclusive=inconclusive)
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    judged = rollouts.run("shadow", rollout=rollout)
    assert (judged.verdict, judged.held) == (Verdict.INCONCLUSIVE, inconclusive == "hold")
    assert "canary got 0 of 100" in judged.reason
    assert rollouts.ledger.rollout(rollout)["state"] == "held"
    assert rollouts.run("promote", rollout=rollout).held
    ended = rollouts.run("roll_back", version=2)
    assert ended.rolled_back == (inconclusive == "roll_back")
    rollouts.with_canary(inconclusive="roll_back")
    assert rollouts.run("roll_back", version=2).rolled_back
    assert rollouts.run("roll_back", version=2).rolled_back
    assert rollouts.held("canary") == 0


def test_a_rollout_that_was_held_goes_on_where_it_was_with_what_it_had_shown(rollouts):
    rollouts.first_champion()
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    rollouts.with_canary(minimum_requests=100_000)
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        judging = rollouts.begin("canary", rollout=rollout, weight=50)
        wait_until(lambda: rollouts.installation.router.weights(MODEL)["canary"] == 50, "the canary's share")
        rollouts.run("control_rollout", action="hold", reason="complaints")
        judged = judging.result(timeout=60)
        assert (judged.verdict, judged.held, judged.reason) == (Verdict.INCONCLUSIVE, True, "hold: complaints")
        assert rollouts.installation.router.weights(MODEL)["canary"] == 0
        # Whatever runs the step again meanwhile, the rollout stays held.
        assert rollouts.run("canary", rollout=rollout, weight=50).held
        assert rollouts.run("roll_back", version=2).reason == "held: hold: complaints"
        kept = len(rollouts.ledger.rollout(rollout)["evidence"]["bets"])
        rollouts.run("control_rollout", action="resume", reason="looked into")
        rollouts.with_canary(minimum_requests=50)
        assert rollouts.run("canary", rollout=rollout, weight=50).verdict is Verdict.PASSED
        assert len(rollouts.ledger.rollout(rollout)["evidence"]["bets"]) == kept == 3
        for weight in (50, 10):
            assert rollouts.run("canary", rollout=rollout, weight=weight).verdict is Verdict.PASSED, "passed already"
        assert rollouts.run("canary", rollout=rollout, weight=100).verdict is Verdict.PASSED
        rollouts.run("promote", rollout=rollout)
    assert traffic.failures == []


def test_a_roll_back_broken_off_anywhere_is_finished_by_running_it_again_and_not_taken_for_a_hold(
    rollouts, monkeypatch
):
    rollouts.first_champion()
    calls = [
        (Router, "weights"),
        (Servers, "deployed"),
        (Servers, "withdraw"),
        (rollouts.registry, "remove_alias"),
    ]
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    for owner, name in calls:
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, _away)
            with pytest.raises(UnavailableError):
                rollouts.run("roll_back", version=2)
        assert rollouts.ledger.rollout(rollout)["state"] == "rolling_back"
        for action in ("resume", "hold"):
            with pytest.raises(InputError, match="version 2 is rolling_back, from where nothing leads to"):
                rollouts.run("control_rollout", action=action)
    ended = rollouts.run("roll_back", version=2)
    assert (ended.rolled_back, ended.reason) == (True, "broken off after: version 2 staged")
    assert rollouts.ledger.open_rollout(MODEL) is None
    assert (rollouts.registry.alias(MODEL, "canary"), rollouts.held("canary")) == (None, 0)


def test_abort_ends_a_rollout_and_the_step_that_watched_it(rollouts):
    rollouts.first_champion()
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    rollouts.with_canary(minimum_requests=100_000)
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        judging = rollouts.begin("canary", rollout=rollout, weight=50)
        wait_until(lambda: rollouts.installation.router.weights(MODEL)["canary"] == 50, "the canary's share")
        ended = rollouts.run("control_rollout", action="abort", reason="complaints")
        assert (ended.version, ended.state) == (2, "rolled_back")
        # It may have noticed that the rollout was held, on the way to its end; run again it knows the end.
        assert judging.result(timeout=60).verdict is not Verdict.PASSED
        judged = rollouts.run("canary", rollout=rollout, weight=50)
    assert (judged.verdict, judged.held) == (Verdict.FAILED, False)
    assert judged.reason == "the rollout is rolled_back: abort: complaints"
    assert traffic.failures == []
    assert rollouts.held("canary") == 0
    with pytest.raises(InputError, match="no rollout is under way"):
        rollouts.run("control_rollout", action="abort")


def test_rollback_gives_the_role_back_to_the_predecessor_without_a_failed_request(rollouts):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollouts.run("promote", rollout=rollouts.climb(rollouts.register(2)))
        wait_until(lambda: traffic.versions[-1] == 2, "the new champion answers")
        ended = rollouts.run("control_rollout", action="rollback", reason="labels")
        enough = len(traffic.versions) + 30
        wait_until(lambda: len(traffic.versions) > enough, "answers")
    assert (ended.version, ended.state) == (2, "rolled_back")
    assert traffic.failures == []
    assert traffic.versions[-20:] == [1] * 20
    assert (rollouts.registry.champion(MODEL), rollouts.ledger.last_promoted(MODEL)) == (1, 1)
    assert (rollouts.held("champion"), rollouts.held("canary")) == (1, 0)
    with pytest.raises(InputError, match="version 2 was rolled back already, version 1 is the champion again"):
        rollouts.run("control_rollout", action="rollback")
    assert rollouts.run("control_rollout", action="rollback", version=2).state == "rolled_back", "done already"
    with pytest.raises(InputError, match="was its first champion"):
        rollouts.run("control_rollout", action="rollback", version=1)


def test_a_rollback_broken_off_anywhere_is_finished_by_running_it_again(rollouts, monkeypatch):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollouts.run("promote", rollout=rollouts.climb(rollouts.register(2)))
        rollouts.register(3)
        calls = [
            (Servers, "deploy"),
            (Router, "weights"),
            (rollouts.registry, "set_alias"),
            (rollouts.registry, "remove_alias"),
            (Servers, "withdraw"),
            (rollouts.ledger, "advance_rollout"),
        ]
        for owner, name in calls:
            with monkeypatch.context() as broken:
                broken.setattr(owner, name, _away)
                with pytest.raises(UnavailableError):
                    rollouts.run("control_rollout", action="rollback")
            assert rollouts.ledger.open_rollout(MODEL)["state"] == "giving_back"
            with pytest.raises(InputError, match="giving_back"):
                rollouts.run("stage", version=3)
        rollouts.run("control_rollout", action="rollback")
    assert traffic.failures == []
    assert (rollouts.registry.champion(MODEL), rollouts.held("champion")) == (1, 1)


def test_a_second_candidate_waits_until_the_first_is_settled_or_supersedes_it(rollouts):
    rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint):
        rollout = rollouts.climb(rollouts.register(2))
        third = rollouts.register(3)
        with pytest.raises(InputError, match=r"version 2 .* is being rolled out: wait"):
            rollouts.run("stage", version=third)
        rollouts.run("promote", rollout=rollout)
        with pytest.raises(InputError, match=r"promoted\) is being rolled out: wait"):
            rollouts.run("stage", version=third)
        rollouts.with_canary(second_rollout="supersede")
        second = rollouts.run("stage", version=third).rollout
        assert rollouts.ledger.rollout(rollout)["state"] == "settled"
        assert rollouts.run("stage", version=rollouts.register(4)).rollout
        assert rollouts.ledger.rollout(second)["state"] == "rolled_back"
        assert rollouts.ledger.rollout_events(second)[-1]["reason"] == "superseded by version 4"
    rollouts.run("control_rollout", action="abort")


def test_a_former_champion_comes_back_in_fewer_steps_though_the_new_one_is_on_probation(rollouts):
    first, spec = rollouts.first_champion(), rollouts.spec
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        probation = rollouts.climb(rollouts.register(2))
        rollouts.run("promote", rollout=probation)
        with pytest.raises(InputError, match=r"version 3 cannot come back, as it never was champion .*\[1, 2\]"):
            rollouts.run("stage", version=rollouts.register(3), fast=True)
        rollout = rollouts.run("stage", version=first, fast=True, decision=7).rollout
        assert rollouts.ledger.rollout(probation)["state"] == "settled"
        for judged in rollouts.judged(rollout):
            assert judged.verdict is Verdict.PASSED, judged.reason
        promoted = rollouts.run("promote", rollout=rollout)
        enough = len(traffic.versions) + 50
        wait_until(lambda: len(traffic.versions) > enough, "answers of the old champion")
    assert traffic.failures == []
    assert traffic.versions[-20:] == [1] * 20
    assert (promoted.version, promoted.predecessor) == (1, 2)
    events = rollouts.ledger.rollout_events(rollout)
    shifted = {row["weight"] for row in events if row["state"] == "shifting"}
    assert shifted == set(spec.canary.of_a_return.weights) < set(spec.canary.weights)
    assert events[0]["reason"] == "version 1 staged, brought back by decision 7"
    tags = rollouts.registry.tags(MODEL, first)
    assert (tags["returned_by"], "returned_at" in tags) == ("decision 7", True)


def test_a_return_that_labels_find_wrong_is_undone_and_the_champion_before_it_is_back(rollouts):
    first = rollouts.first_champion()
    with Traffic(rollouts.installation.settings.endpoint) as traffic:
        rollouts.run("promote", rollout=rollouts.climb(rollouts.register(2)))
        rollout = rollouts.run("stage", version=first, fast=True).rollout
        assert [judged.verdict for judged in rollouts.judged(rollout)][-1] is Verdict.PASSED
        rollouts.run("promote", rollout=rollout)
        assert rollouts.ledger.provisional(MODEL)["id"] == rollout, "the watch looks at it as at any promotion"
        rollouts.run("control_rollout", action="rollback", reason="labels")
        wait_until(lambda: traffic.versions[-1] == 2, "the champion before it answers")
    assert traffic.failures == []
    assert (rollouts.registry.champion(MODEL), rollouts.ledger.champions(MODEL)) == (2, [1, 2])


def test_a_restarted_haproxy_gets_its_weights_back_and_that_is_counted(rollouts):
    installation = rollouts.installation
    rollouts.first_champion()
    rollout = rollouts.to_weight(rollouts.register(2), 50)
    with Traffic(installation.settings.endpoint):
        rollouts.with_canary(minimum_requests=100_000)
        judging = rollouts.begin("canary", rollout=rollout, weight=50)
        wait_until(lambda: rollouts.installation.router.weights(MODEL)["canary"] == 50, "the canary's share")
        installation.kill("haproxy")
        installation.start_haproxy()
        wait_until(
            lambda: "set again" in rollouts.ledger.rollout_events(rollout)[-1]["reason"], "the weight is set again"
        )
        assert installation.router.weights(MODEL)["canary"] == 50
        rollouts.run("control_rollout", action="abort")
        judging.result(timeout=60)
    events = rollouts.ledger.rollout_events(rollout)
    assert sum(event["evidence"].get("weights_set_again", 0) for event in events) == 1


def test_steps_are_taken_in_order_and_of_rollouts_that_have_not_ended(rollouts):
    rollouts.first_champion()
    rollout = rollouts.run("stage", version=rollouts.register(2)).rollout
    with pytest.raises(InputError, match="has not passed shadow: run that step first"):
        rollouts.run("canary", rollout=rollout, weight=10)
    with pytest.raises(InputError, match="has not passed canary at 10 %"):
        rollouts.run("canary", rollout=rollout, weight=50)
    with pytest.raises(InputError, match=r"weight 20 is not one of canary.weights \[10, 50, 100\]"):
        rollouts.run("canary", rollout=rollout, weight=20)
    with pytest.raises(InputError, match="has not passed at weight 100"):
        rollouts.run("promote", rollout=rollout)
    rollouts.run("roll_back", version=2)
    assert rollouts.run("shadow", rollout=rollout).verdict is Verdict.FAILED
    with pytest.raises(InputError, match="ended rolled_back"):
        rollouts.run("promote", rollout=rollout)
    with pytest.raises(InputError, match="is the champion already"):
        rollouts.run("stage", version=1)


def _away(*arguments: object, **named: object) -> None:
    raise UnavailableError("away")
