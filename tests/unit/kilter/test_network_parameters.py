"""The network's own parameters, as two places know them."""

import pytest

from kilter.core.search_space import SPACES, Range
from kilter.network_parameters import NetworkParameters


def test_a_search_of_a_network_begins_with_its_defaults_and_tries_only_what_is_allowed() -> None:
    defaults = NetworkParameters().model_dump()
    assert {name: space.default for name, space in SPACES["torch"].items()} == {
        name: value for name, value in defaults.items() if name != "deterministic"
    }
    for name, space in SPACES["torch"].items():
        assert isinstance(space, Range)
        for value in (space.low, space.high):
            NetworkParameters.parse({name: value})


def test_every_wrong_parameter_is_named_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"width: .* \(got 0\); there is no 'layers' \(got 3\); allowed are width, depth"
    ):
        NetworkParameters.parse({"width": 0, "layers": 3})
