"""Training curves of known shape."""

import math

import numpy as np
import pytest

from kilter.core.sanity.convergence import MOST_LATE_FALL, fall, late_fall


def test_a_loss_that_never_improves_on_the_prior_has_no_fall() -> None:
    assert fall([0.7, 0.8], start=0.7) == 0
    assert fall([0.8, 0.9], start=0.7) < 0
    assert math.isnan(late_fall([0.7, 0.8], start=0.7))


def test_one_round_is_all_of_its_fall() -> None:
    assert late_fall([0.5], start=0.7) == 1


@pytest.mark.parametrize(("gained", "converged"), [(0.90, False), (0.93, False), (0.95, True), (0.99, True)])
def test_the_bound_lies_where_94_percent_of_a_shrinking_gain_are_gained(gained: float, converged: bool) -> None:
    """Loss 1 - (1 - e^(-t)), whose limit is 0: after time T the share 1 - e^(-T) is gained."""
    times = np.linspace(0, -math.log(1 - gained), 1001)[1:]
    assert (late_fall(np.exp(-times).tolist(), start=1.0) <= MOST_LATE_FALL) is converged


def test_a_training_that_got_worse_again_converged_all_the_same() -> None:
    assert late_fall([0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], start=0.7) == 0


def test_one_lucky_round_at_the_end_counts_only_for_what_it_gained_on_the_best_before() -> None:
    losses = [0.5] * 9 + [0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.45]
    assert late_fall(losses, start=1.0) == pytest.approx(0.05 / 0.55)
