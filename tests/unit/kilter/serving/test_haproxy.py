"""The static configuration; that HAProxy accepts it and acts on it is a contract test."""

from pathlib import Path

import pytest

from kilter.errors import InputError
from kilter.serving.haproxy import render
from kilter.settings import Settings
from kilter.spec import ModelSpec, load_spec

FLIGHTS = Path(__file__).parents[4] / "include/models/flight_delay"
SETTINGS = Settings.from_environment({})


def specs(*names: str, sticky_header: str | None = None) -> list[ModelSpec]:
    spec = load_spec(FLIGHTS)
    canary = spec.canary.model_copy(update={"sticky_header": sticky_header})
    return [spec.model_copy(update={"name": name, "canary": canary}) for name in names]


def test_every_model_has_a_back_end_with_both_roles():
    config = render(SETTINGS, specs("delay", "fraud"))
    for model in ("delay", "fraud"):
        paths = f"{{ path_beg /models/{model}/ /v2/models/{model}/ }} || {{ path /v2/models/{model} }}"
        assert f"use_backend {model} if {paths}" in config
        assert f"http-check send meth GET uri /models/{model}/available" in config
    assert config.count("server champion 127.0.0.1:8901 weight 100 check") == 2
    assert config.count("server canary 127.0.0.1:8902 weight 0 check") == 2


def test_each_role_stands_in_for_the_other_and_is_checked_once():
    config = render(SETTINGS, specs("delay"))
    assert "server fallback 127.0.0.1:8901 backup track delay/champion\n" in config
    assert "server reserve 127.0.0.1:8902 backup track delay-loaded/canary\n" in config
    assert config.index("server fallback") < config.index("server reserve")


def test_a_request_is_kept_whole_so_that_it_can_be_asked_again():
    config = render(SETTINGS, specs("delay"))
    assert "option http-buffer-request\n" in config
    assert "retry-on conn-failure empty-response\n" in config


def test_it_binds_where_clients_look_unless_told_otherwise():
    assert "bind 127.0.0.1:8900\n" in render(SETTINGS, specs("delay"))
    elsewhere = render(SETTINGS, specs("delay"), "0.0.0.0")
    assert "bind 0.0.0.0:8900\n" in elsewhere
    assert "stats socket ipv4@0.0.0.0:8999 level admin" in elsewhere


def test_server_names_are_looked_up_again_and_again():
    named = SETTINGS.model_copy(update={"champion": "http://model-champion:8901"})
    assert "resolvers names init-addr last,libc,none" in render(named, specs("delay"))
    assert "resolvers" not in render(SETTINGS, specs("delay"))


@pytest.mark.parametrize(("field", "value"), [("champion", "127.0.0.1:8901"), ("endpoint", "http://host")])
def test_an_address_without_host_and_port_is_refused(field, value):
    with pytest.raises(InputError, match=f"'{value}'"):
        render(SETTINGS.model_copy(update={field: value}), specs("delay"))


def test_no_models_are_refused():
    with pytest.raises(InputError, match="KILTER_MODELS"):
        render(SETTINGS, [])


def test_a_sticky_header_is_hashed_in_its_own_models_back_end_alone() -> None:
    config = render(SETTINGS, [*specs("delay"), *specs("fraud", sticky_header="x-customer")])
    plain, sticky = config.split("\nbackend fraud\n")
    assert "hash-type" not in plain
    assert "    balance hdr(x-customer)\n    hash-type consistent\n" in sticky
