"""The arbiter: evidence and the past in, one decision with its reason out.

Everything that may lead to a training or to an earlier model goes through `decide`: drift, decayed quality, new data, the
schedule, a changed environment and a person. It is the same function in production and in a backtest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from kilter.core.scope import Scope
from kilter.core.verdict import Judgement, Measured, Verdict
from kilter.spec import Arbiter

Action = Literal["retrain", "redeploy", "wait"]
Trigger = Literal["drift", "schedule", "new_data", "environment", "person"]

DATA_DRIFT = "data_drift"
PERFORMANCE = "performance"
DECAY = "decay"
WORTH = "worth"

_SLOWEST = 4
"""At most 2 ** _SLOWEST times the cooldown passes before a training is tried again, however often it gained nothing."""


class Facts(BaseModel):
    """Base of what goes into a decision and comes out of it: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rival(Facts):
    """An earlier model beside the champion.

    `passed`: a clear match, surely better than the champion and as good as it once was. `inconclusive`: better, but
    not surely or not as good as it was. `failed`: no better. `error`: could not be compared.
    """

    version: int
    basis: Literal["labels", "fingerprint"]
    """`labels`: scored on the newest labelled rows; `fingerprint`: its regime's distributions match the newest rows'."""
    verdict: Verdict
    reason: str
    gain: Measured | None = None
    """How much less it loses than the champion, or how near its regime is."""


class Wish(Facts):
    """What a person asks for."""

    action: Literal["retrain", "redeploy"]
    version: int | None = None
    reason: str


class Evidence(Facts):
    """What is known at an event time."""

    event_time: datetime
    trigger: Trigger = "drift"
    wish: Wish | None = None
    judgements: tuple[Judgement, ...] = ()
    """By name: `data_drift`, `performance`, `decay`, `worth` and others that a report holds.

    `decay` fails when the champion surely became worse than it was, and stands for `performance` where it is known;
    `worth` fails when waiting costs more than a training. Others are told, and do not decide."""
    rivals: tuple[Rival, ...] = ()
    scope: Scope = Scope()
    new_labels: int = 0
    """Labelled rows since the last training."""
    trained_labels: int = 0
    """Labelled rows of the same scope that were known at the last training."""
    trainings: tuple[datetime, ...] = ()
    """Event times of the trainings so far, oldest first; those that were decided and have not ended count."""
    in_vain: int = 0
    """How many of the last trainings in a row, of those that had such a cause, gained nothing."""
    rejected: int = 0
    """How many versions in a row the gate rejected, the newest last, since parameters were searched for."""
    under_way: str | None = None
    """The retraining that has not ended, in words; None without one."""
    returning: str | None = None
    """The rollout that is under way, in words: nothing is brought back meanwhile."""


class _Cause(NamedTuple):
    """Why to train, in words; what is not urgent leaves one of the trainings earned for what is."""

    words: str
    urgent: bool = False


class Decision(Facts):
    """What to do, and why in words."""

    action: Action
    reason: str
    version: int | None = None
    """redeploy: the version that shall be champion again."""
    scope: Scope | None = None
    """retrain: what to train on."""
    tune: bool = False
    """retrain: whether to search for parameters first, as versions trained with the old ones no longer pass the gate."""
    alert: bool = False
    """Whether a person should look: something could not be told, or not be done."""


def decide(evidence: Evidence, policy: Arbiter) -> Decision:
    """Decide what to do.

    | first that holds                                             | decision                                   |
    | ------------------------------------------------------------ | ------------------------------------------ |
    | a person asks, and nothing of the kind is under way          | what the person asks                       |
    | a retraining is under way                                    | wait: this is folded into it               |
    | an earlier model is a clear match                            | redeploy it                                |
    | a cause to train, and nothing against it                     | retrain                                    |
    | an earlier model is better than a champion that decayed, and no training may begin | redeploy it          |
    | else                                                         | wait, with the cause and what is against it |

    A cause is: quality that surely decayed; drifted columns while quality is unknown; waiting that costs more than a
    training; labels grown by `growth`; an environment that changed; the schedule. Labels outrank distributions:
    a window whose quality held is left alone, however far its columns moved. Against it are trainings not yet earned
    (`cooldown`, `saved`; only decay and drift may take the last one where several are saved), longer pauses after trainings
    of such a cause in vain, and too few new labels. A training searches for parameters first where the gate rejected
    `tune_after` versions in a row since the last search.
    """
    if evidence.wish is not None:
        return _granted(evidence, policy, evidence.wish)
    if evidence.under_way is not None:
        alarm = next(_causes(evidence, policy), _Cause("no reason to retrain")).words
        return _wait(evidence, f"{alarm}; folded into {evidence.under_way}")
    returning = _clear(evidence.rivals)
    may_return = policy.bring_back and evidence.returning is None
    if returning is not None and may_return:
        return Decision(action="redeploy", version=returning.version, reason=returning.reason)
    cause = next(_causes(evidence, policy), None)
    if cause is None:
        return _wait(evidence, f"no reason to retrain: {_calm(evidence)}")
    against = _against(evidence, policy, cause)
    if against is None:
        return _retrain(evidence, policy, cause.words)
    second = _better(evidence)
    if second is not None and may_return:
        return Decision(
            action="redeploy",
            version=second.version,
            reason=f"{cause.words}; {against}; meanwhile {second.reason}",
            alert=True,
        )
    return _wait(evidence, f"{cause.words}; but {against}")


def earned(trainings: Sequence[datetime], now: datetime, cooldown: timedelta, saved: int) -> float:
    """How many trainings may begin now: one is earned in each `cooldown`, and up to `saved` are kept.

    A token bucket, full before the first training; with `saved` 1 it is a plain cooldown.

    >>> from datetime import UTC
    >>> days = [datetime(2013, 1, day, tzinfo=UTC) for day in (1, 4, 7)]
    >>> earned(days[:1], days[1], timedelta(days=6), 1), earned(days[:1], days[2], timedelta(days=6), 1)
    (0.5, 1.0)
    """
    tokens, before = float(saved), None
    for training in sorted(trainings):
        tokens = max(_grown(tokens, before, training, cooldown, saved) - 1, 0.0)
        before = training
    return _grown(tokens, before, now, cooldown, saved)


def _grown(tokens: float, before: datetime | None, now: datetime, cooldown: timedelta, saved: int) -> float:
    if before is None or not cooldown:
        return float(saved)
    return min(float(saved), tokens + max((now - before) / cooldown, 0.0))


def _granted(evidence: Evidence, policy: Arbiter, wish: Wish) -> Decision:
    if wish.action == "retrain":
        if evidence.under_way is not None:
            return _wait(evidence, f"{wish.reason}; folded into {evidence.under_way}", alert=True)
        return _training(evidence, policy, [f"asked for: {wish.reason}"])
    if evidence.returning is not None:
        return _wait(evidence, f"{wish.reason}; but {evidence.returning}", alert=True)
    return Decision(action="redeploy", version=wish.version, reason=f"asked for: {wish.reason}")


def _retrain(evidence: Evidence, policy: Arbiter, cause: str) -> Decision:
    unsure = [rival for rival in evidence.rivals if rival.verdict is Verdict.INCONCLUSIVE]
    told = [cause, *(f"no earlier model is a clear match: {rival.reason}" for rival in unsure[:1])]
    told.append(f"trained on {evidence.scope.kind}: {evidence.scope.reason}")
    return _training(evidence, policy, told)


def _training(evidence: Evidence, policy: Arbiter, told: list[str]) -> Decision:
    tune = policy.tune_after is not None and evidence.rejected >= policy.tune_after
    if tune:
        told = [*told, f"with new parameters: the gate rejected {evidence.rejected} versions with the old ones"]
    return Decision(action="retrain", scope=evidence.scope, tune=tune, reason="; ".join(told))


def _wait(evidence: Evidence, reason: str, alert: bool = False) -> Decision:
    faults = [item for item in evidence.judgements if item.verdict is Verdict.ERROR]
    untold = bool(evidence.judgements) and all(item.verdict is Verdict.INCONCLUSIVE for item in evidence.judgements)
    return Decision(action="wait", reason=reason, alert=alert or bool(faults) or untold)


def _causes(evidence: Evidence, policy: Arbiter) -> Iterator[_Cause]:
    found = {item.name: item for item in evidence.judgements}
    # The record of losses knows how much windows differ anyway; a report's fixed bound counts only where there is none.
    quality = found.get(DECAY, found.get(PERFORMANCE))
    if quality is not None and quality.verdict is Verdict.FAILED:
        yield _Cause(f"quality decayed: {quality.reason}", urgent=True)
    if _quality_unknown(evidence) and DATA_DRIFT in found and found[DATA_DRIFT].verdict is Verdict.FAILED:
        yield _Cause(f"data drifted and quality is unknown: {found[DATA_DRIFT].reason}", urgent=True)
    if WORTH in found and found[WORTH].verdict is Verdict.FAILED:
        yield _Cause(f"a training is worth it: {found[WORTH].reason}")
    if evidence.trigger == "environment":
        yield _Cause("the environment changed since the last training")
    if evidence.trigger == "schedule":
        yield _Cause("the schedule asks for a training")
    known = evidence.trained_labels + evidence.new_labels
    if policy.growth is not None and evidence.trained_labels and known >= policy.growth * evidence.trained_labels:
        yield _Cause(
            f"labels grew {known / evidence.trained_labels:.2g} times since the last training ({evidence.trained_labels} "
            f"to {known}), {policy.growth:g} or more is worth one"
        )


def _quality_unknown(evidence: Evidence) -> bool:
    told = [item.verdict for item in evidence.judgements if item.name in (PERFORMANCE, DECAY)]
    return all(verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR) for verdict in told)


def _calm(evidence: Evidence) -> str:
    return (
        "; ".join(f"{item.name} {item.verdict} ({item.reason})" for item in evidence.judgements) or "nothing is known"
    )


def _against(evidence: Evidence, policy: Arbiter, cause: _Cause) -> str | None:
    now, last = evidence.event_time, max(evidence.trainings, default=None)
    if last is not None and evidence.in_vain:
        pause = policy.cooldown * 2 ** min(evidence.in_vain - 1, _SLOWEST)
        if now - last < pause:
            times = "training" if evidence.in_vain == 1 else f"{evidence.in_vain} trainings"
            return f"the last {times} gained nothing, so the next one waits {_days(pause)}, of which {_days(now - last)} are over"
    needed = 1 if cause.urgent else min(2, policy.saved)
    if (found := earned(evidence.trainings, now, policy.cooldown, policy.saved)) < needed:
        since = _days(now - last) if last is not None else "0 days"
        kept = "" if cause.urgent or needed == 1 else f", {found:.2g} of which are left and one is kept for a decay"
        return (
            f"the last training was {since} ago, and one is earned in each cooldown of {_days(policy.cooldown)}{kept}"
        )
    if evidence.new_labels < policy.minimum_new_labels:
        return f"{evidence.new_labels} new labels < {policy.minimum_new_labels} needed"
    return None


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.3g} days"


def _clear(rivals: Sequence[Rival]) -> Rival | None:
    """The clear match that gains most; labels outrank fingerprints."""
    return max((rival for rival in rivals if rival.verdict is Verdict.PASSED), key=_rank, default=None)


def _better(evidence: Evidence) -> Rival | None:
    """An earlier model that is surely better by labels, though not as good as it was."""
    found = [
        rival
        for rival in evidence.rivals
        if rival.verdict is Verdict.INCONCLUSIVE and rival.basis == "labels" and _surely_gains(rival)
    ]
    return max(found, key=_rank, default=None)


def _surely_gains(rival: Rival) -> bool:
    return rival.gain is not None and rival.gain.low is not None and rival.gain.low > rival.gain.bound


def _rank(rival: Rival) -> tuple[bool, float]:
    """By labels first; then by the least gain that is sure."""
    if rival.gain is None:
        return rival.basis == "labels", 0.0
    return rival.basis == "labels", rival.gain.low if rival.gain.low is not None else rival.gain.value
