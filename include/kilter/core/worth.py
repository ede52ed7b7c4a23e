"""Is it worth training now? By what the last trainings gained."""

from __future__ import annotations

import math

from kilter.core.arbiter import WORTH
from kilter.core.decay import moves
from kilter.core.record import Past, Record, gain
from kilter.core.recovery import unrecovered
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Arbiter

_USUAL_GAIN = 0.04
"""What trainings usually gain, in units of a guess's loss: what was measured is shrunk towards nothing by it."""
_PATIENCE = 4
"""Windows after which a training that showed no gain counts as one in vain."""


def worth(record: Record, policy: Arbiter) -> Judgement:
    """Judge whether another training now would gain enough: failed means that waiting costs too much.

    The last training's gain over the model it replaced, on windows that both did not learn from, tells what so many
    new rows were worth. Where the world moves, the rows since are expected to be worth their share of that; where it does
    not, their share on a logarithmic scale, as what more rows of the same teach dwindles. The gain is shrunk
    towards nothing by its error (James and Stein 1961; Efron and Morris 1975), so that luck is not taken for a trend.
    A training because of decay tells nothing of this: what it gained is the change's doing. But where it won back less than
    half of what was lost, another one is worth trying, without the older rows.

    With both costs in the policy the expected gain on as many rows as came since is weighed against the cost of a training;
    otherwise it must reach `policy.worthwhile`.
    """
    if (left := unrecovered(record)) is not None:
        reason = (
            f"the last training won back {left.regained:.3f} of the {left.lost:.3f} that a decay had cost (a guess's loss is 1): "
            "rows since the change alone may win back more"
        )
        return Judgement(name=WORTH, verdict=Verdict.FAILED, reason=reason)
    last = record.trainings[-1] if record.trainings else None
    pair = None if last is None or last.decayed or last.version == last.champion else record.pair(last)
    if pair is None:
        return Judgement(name=WORTH, verdict=Verdict.INCONCLUSIVE, reason="no training has shown yet what one gains")
    new, old = pair
    gained = gain(new, old, new.learned + 1, record.now)
    if not gained.rows:
        reason = f"no labelled row has come yet that versions {new.version} and {old.version} both did not learn from"
        return Judgement(name=WORTH, verdict=Verdict.INCONCLUSIVE, reason=reason)
    shrunk = gained.value * _USUAL_GAIN**2 / (_USUAL_GAIN**2 + gained.error**2)
    before, since = (
        record.rows(range(old.learned + 1, new.learned + 1)),
        record.rows(range(new.learned + 1, record.now + 1)),
    )
    expected = shrunk * _share(record.rows(new.windows), before, since, moves(record))
    figures = {"gained": gained.value, "error": gained.error, "expected": expected, "new_rows": since}
    told = (
        f"{before} new rows made version {new.version} lose {gained.value:.3f} less than version {old.version} (a guess's "
        f"loss is 1; ± {gained.error:.3f}), so the {since} rows since promise {expected:.3f}"
    )
    if policy.cost_of_training is not None and policy.cost_of_error is not None:
        saved = expected * since * policy.cost_of_error
        verdict = Verdict.FAILED if saved > policy.cost_of_training else Verdict.PASSED
        reason = f"{told}, worth {saved:.4g} on as many rows to come, beside a training's {policy.cost_of_training:g}"
    else:
        verdict = Verdict.FAILED if expected >= policy.worthwhile else Verdict.PASSED
        reason = f"{told}; {policy.worthwhile:g} or more is worth a training"
    return Judgement(name=WORTH, verdict=verdict, reason=reason, figures=figures)


def _share(known: int, before: int, since: int, moving: bool) -> float:
    """What `since` new rows are worth beside the `before` that came last, of `known` in all.

    >>> _share(2000, 1000, 1000, moving=True), round(_share(2000, 1000, 1000, moving=False), 2)
    (1.0, 0.58)
    """
    if moving or before >= known:
        return since / max(before, 1)
    return math.log(1 + since / known) / math.log(known / (known - before))


def in_vain(record: Record, decayed: bool) -> int:
    """How many of the last trainings in a row gained nothing over the champion of their time.

    Args:
        decayed: count those that a decay caused; else the others, which tell nothing of what a decay's would gain.
    """
    count = 0
    for past in reversed(record.trainings):
        told = _gained(past, record) if past.decayed == decayed else None
        if told is None:
            continue
        if told:
            return count
        count += 1
    return count


def _gained(past: Past, record: Record) -> bool | None:
    """Whether a training gained something on fresh windows; None while that cannot be told."""
    pair = record.pair(past)
    if pair is None:
        return False
    new, old = pair
    # Later windows may be of a third world, for which neither was made.
    gained = gain(new, old, new.learned + 1, min(record.now, past.window + 2 * _PATIENCE))
    if not gained.rows:
        return None
    if gained.value > max(0.01, gained.error):
        return True
    surely_not = gained.value < 0.01 - gained.error
    return False if surely_not or record.now - past.window >= _PATIENCE else None
