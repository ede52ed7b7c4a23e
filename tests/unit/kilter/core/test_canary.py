"""The canary's verdicts, on requests made up with known shares and times."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from kilter.core.canary import Arm, Evidence, Look, judge, measures
from kilter.core.verdict import Verdict
from kilter.spec import Canary

RULES = Canary(minimum_requests=50, allowed_error_rate=0.01, allowed_latency_ratio=1.5)


class World:
    """Requests of both arms, 200 a look, a tenth of them to the canary."""

    def __init__(self, seed: int = 0, rules: Canary = RULES, steps: int = 3) -> None:
        self.random = np.random.default_rng(seed)
        self.rules = rules
        self.evidence = Evidence(steps=steps).begin(rules)

    def arm(
        self, requests: int, errors: float = 0.002, refused: float = 0.002, slower: float = 1.0, shift: float = 0.0
    ) -> Arm:
        failed = int(self.random.binomial(requests, errors))
        answered = requests - failed
        seconds = slower * 0.01 * self.random.lognormal(sigma=0.4, size=answered)
        scores = np.clip(self.random.beta(2, 5, answered) + shift, 0, 1)
        return Arm(requests, failed, int(self.random.binomial(answered, refused)), seconds, scores)

    def run(self, looks: int, **fault: float) -> World:
        """Look so often at a canary with this fault."""
        for _ in range(looks):
            requests = int(self.random.binomial(200, 0.1))
            look = Look(self.arm(200 - requests), self.arm(requests, **fault))
            self.evidence = self.evidence.after(look, self.rules)
        return self

    def next_step(self) -> World:
        self.evidence = self.evidence.begin(self.rules)
        return self

    @property
    def verdict(self) -> Verdict:
        return judge(self.evidence, self.rules).verdict


def looks_until_failed(world: World, **fault: float) -> int:
    return next(count for count in range(1, 200) if world.run(1, **fault).verdict is Verdict.FAILED)


def test_a_canary_like_the_champion_passes_and_the_reason_shows_what_was_compared() -> None:
    judged = judge(World().run(100).evidence, RULES)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert "1.00% more allowed (p 1)" in judged.reason
    assert "latency: above 1.5 x the champion's in" in judged.reason
    assert judged.figures["p_needed"] == RULES.alpha / 5


@pytest.mark.parametrize(
    ("fault", "measure"),
    [
        ({"errors": 0.08}, "errors"),
        ({"refused": 0.3}, "refused"),
        ({"slower": 2.5}, "latency"),
        ({"shift": 0.4}, "score higher"),
        ({"shift": -0.4}, "score lower"),
    ],
)
def test_each_fault_fails_by_its_measure(fault: dict[str, float], measure: str) -> None:
    world = World()
    looks_until_failed(world, **fault)
    assert judge(world.evidence, RULES).reason.startswith(f"{measure} surely worse than allowed")


def test_what_is_allowed_is_not_failed() -> None:
    assert World().run(100, errors=0.009, slower=1.3, shift=0.05).verdict is not Verdict.FAILED


def test_nothing_seen_is_inconclusive_and_never_a_pass() -> None:
    judged = judge(World().evidence, RULES)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.startswith(
        "not enough data: canary got 0 of 50 requests needed, errors, refused, latency, score higher, score lower "
        "not surely within what is allowed yet"
    )


def test_requests_of_one_arm_alone_tell_nothing() -> None:
    world = World()
    for _ in range(50):
        world.evidence = world.evidence.after(Look(Arm(), world.arm(20)), RULES)
    assert world.verdict is Verdict.INCONCLUSIVE


def test_a_canary_that_is_down_is_an_error_and_not_a_bad_model() -> None:
    judged = judge(World().run(100).evidence, RULES, up=False)
    assert judged.verdict is Verdict.ERROR
    assert judged.reason.startswith("the canary server is down")


def test_each_step_needs_its_requests_but_not_its_proof_again() -> None:
    world = World().run(100).next_step()
    assert world.verdict is Verdict.INCONCLUSIVE
    assert "not surely" not in judge(world.evidence, RULES).reason
    assert world.run(5).verdict is Verdict.PASSED


def test_a_candidate_that_turns_bad_late_is_failed_about_as_fast_as_one_that_was_bad_from_the_start() -> None:
    late = looks_until_failed(World(seed=1).run(500).next_step(), errors=0.08)
    assert late < 2 * looks_until_failed(World(seed=2), errors=0.08) + 10


def test_looks_that_saw_one_arm_only_wait_for_the_other_and_lose_nothing() -> None:
    world = World()
    early = Look(canary=world.arm(20))
    assert not early.compares
    both = early.plus(Look(champion=world.arm(180)))
    assert both.compares
    assert (both.canary.requests, both.champion.requests, len(both.champion.seconds)) == (20, 180, 180)


def test_below_the_floor_nothing_is_slow() -> None:
    rules = RULES.model_copy(update={"latency_floor": timedelta(seconds=1)})
    assert World(rules=rules).run(100, slower=5).verdict is Verdict.PASSED


def test_scores_may_be_left_out() -> None:
    rules = RULES.model_copy(update={"allowed_score_shift": None})
    assert measures(rules) == ("errors", "refused", "latency")
    assert World(rules=rules).run(100, shift=0.4).verdict is Verdict.PASSED


def test_evidence_goes_through_json_unchanged() -> None:
    evidence = World().run(20).evidence
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


def test_candidates_without_a_fault_are_failed_no_more_often_than_alpha_says() -> None:
    rules = Canary(alpha=0.2, allowed_error_rate=0.0, allowed_latency_ratio=1.0, allowed_score_shift=0.01)
    failed = 0
    for seed in range(60):
        world = World(seed=seed, rules=rules, steps=2)
        looks = [world.run(5).verdict for _ in range(6)] + [world.next_step().run(5).verdict]
        failed += Verdict.FAILED in looks
    assert failed <= 12
