"""The static configuration; that HAProxy accepts it and acts on it is a contract test."""

import pytest

from kilter.errors import InputError
from kilter.serving.haproxy import render
from kilter.settings import Settings

SETTINGS = Settings.from_environment({})


def test_every_model_has_a_back_end_with_both_roles():
    config = render(SETTINGS, ["delay", "fraud"])
    for model in ("delay", "fraud"):
        paths = f"{{ path_beg /models/{model}/ /v2/models/{model}/ }} || {{ path /v2/models/{model} }}"
        assert f"use_backend {model} if {paths}" in config
        assert f"http-check send meth GET uri /models/{model}/ready" in config
    assert config.count("server champion 127.0.0.1:8901 weight 100 check") == 2
    assert config.count("server canary 127.0.0.1:8902 weight 0 check") == 2


def test_each_role_stands_in_for_the_other_and_is_checked_once():
    config = render(SETTINGS, ["delay"])
    assert "server fallback 127.0.0.1:8901 backup track delay/champion\n" in config
    assert "server reserve 127.0.0.1:8902 backup track delay/canary\n" in config
    assert config.index("server fallback") < config.index("server reserve")


def test_a_request_is_kept_whole_so_that_it_can_be_asked_again():
    config = render(SETTINGS, ["delay"])
    assert "option http-buffer-request\n" in config
    assert "retry-on conn-failure empty-response\n" in config


def test_it_binds_where_clients_look_unless_told_otherwise():
    assert "bind 127.0.0.1:8900\n" in render(SETTINGS, ["delay"])
    elsewhere = render(SETTINGS, ["delay"], "0.0.0.0")
    assert "bind 0.0.0.0:8900\n" in elsewhere
    assert "stats socket ipv4@0.0.0.0:8999 level admin" in elsewhere


def test_server_names_are_looked_up_again_and_again():
    named = SETTINGS.model_copy(update={"champion": "http://model-champion:8901"})
    assert "resolvers names init-addr last,libc,none" in render(named, ["delay"])
    assert "resolvers" not in render(SETTINGS, ["delay"])


@pytest.mark.parametrize(("field", "value"), [("champion", "127.0.0.1:8901"), ("endpoint", "http://host")])
def test_an_address_without_host_and_port_is_refused(field, value):
    with pytest.raises(InputError, match=f"'{value}'"):
        render(SETTINGS.model_copy(update={field: value}), ["delay"])


def test_no_models_are_refused():
    with pytest.raises(InputError, match="KILTER_MODELS"):
        render(SETTINGS, [])
