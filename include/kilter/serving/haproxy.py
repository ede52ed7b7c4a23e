"""HAProxy's static configuration: one back end a model, both roles as servers.

It sends everything to the champion, so a restarted HAProxy is safe. Weights move at run time
through `kilter.stores.router`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from kilter.errors import InputError
from kilter.settings import Settings
from kilter.spec import ModelSpec

_HEAD = """\
# Made by 'kilter haproxy-config': do not edit. Weights change at run time; these are safe after a restart.
global
    stats socket ipv4@{runtime} level admin
    maxconn 4096

defaults
    mode http
    timeout connect 300ms
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    # A busy server answers its check late; one that is dead refuses it at once.
    timeout check 2s
    # Scoring changes nothing but the log, so a request that no server answered may be asked again, elsewhere; for that
    # HAProxy must have all of it (up to 16 kB), and clients send the body apart.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
    balance roundrobin
    option http-buffer-request
    option httpchk
    default-server inter 250ms fastinter 100ms rise 1 fall 2{lookup}
    http-error status 502 content-type application/json string '{{"error": "the model server broke off its answer: try again"}}'
    http-error status 503 content-type application/json string '{{"error": "no model server can answer: is a champion deployed, and up?"}}'
    http-error status 504 content-type application/json string '{{"error": "the model server took too long: try again"}}'
"""

_RESOLVERS = """
resolvers names
    parse-resolv-conf
    hold valid 5s
"""

_FRONT = """
frontend models
    bind {listen}
    stats enable
    stats uri /haproxy
    http-request deny if {{ path_beg /haproxy }} !{{ src 127.0.0.0/8 }}
    http-request deny if {{ path,url_dec -m reg /(answers|copies)/*$ }}
    http-request del-header x-kilter-copy
    http-request return status 404 content-type application/json lf-string '{{"error": "no model at %[path,json(utf8s)]; models are at /models/<model>/invocations and /v2/models/<model>/infer: {models}"}}' unless {known} || {{ path_beg /haproxy }}
{choices}
"""

_BACK = """
backend {model}
{balance}    http-check send meth GET uri /models/{model}/available
    http-check expect status 200
    server champion {champion} weight 100 check observe layer4 error-limit 1 on-error mark-down
    server canary {canary} weight 0 check observe layer4 error-limit 1 on-error mark-down
    # Asked only when no server with a weight is up: the champion again, then whatever version the canary role holds.
    server fallback {champion} backup track {model}/champion
    server reserve {canary} backup track {model}-loaded/canary

# Whether the canary role holds a version at all, also one that wants no requests of its own.
backend {model}-loaded
    http-check send meth GET uri /models/{model}/ready
    http-check expect status 200
    server canary {canary} check
"""


_STICKY = """\
    # One value of the header, one server; a weight that changes moves as few of them as it can.
    balance hdr({header})
    hash-type consistent
"""


def render(settings: Settings, specs: Sequence[ModelSpec], listen: str | None = None) -> str:
    """The configuration for these models.

    Args:
        settings: addresses of the front end, the runtime API and the servers.
        specs: the models; each gets a back end under its name.
        listen: address to bind to, where it is not the one that clients use; such as `0.0.0.0` in a container.

    Raises:
        InputError: no models, or an address without host and port.
    """
    models = [spec.name for spec in specs]
    if not models:
        raise InputError(f"no models in {settings.models}: HAProxy needs at least one: set KILTER_MODELS")
    champion, canary = (_address(url, "http") for url in (settings.champion, settings.canary))
    by_name = any(_is_name(address) for address in (champion, canary))
    conditions = {
        model: f"{{ path_beg /models/{model}/ /v2/models/{model}/ }} || {{ path /v2/models/{model} }}"
        for model in models
    }
    head = _HEAD.format(
        runtime=_bind(_address(settings.router, ""), listen),
        lookup=" resolvers names init-addr last,libc,none" if by_name else "",
    )
    front = _FRONT.format(
        listen=_bind(_address(settings.endpoint, "http"), listen),
        choices="\n".join(f"    use_backend {model} if {condition}" for model, condition in conditions.items()),
        models=", ".join(models),
        known=" || ".join(conditions.values()),
    )
    backs = (
        _BACK.format(model=spec.name, champion=champion, canary=canary, balance=_balance(spec.canary.sticky_header))
        for spec in specs
    )
    return head + (_RESOLVERS if by_name else "") + front + "".join(backs)


def _balance(header: str | None) -> str:
    return _STICKY.format(header=header) if header else ""


def _address(url: str, scheme: str) -> str:
    """`host:port` of an address."""
    parts = urlsplit(url if scheme else f"//{url}")
    if parts.scheme != scheme or not parts.hostname or not parts.port:
        form = f"{scheme}://host:port" if scheme else "host:port"
        raise InputError(f"address '{url}': expected {form}: correct the KILTER_… variable")
    return f"{parts.hostname}:{parts.port}"


def _bind(address: str, listen: str | None) -> str:
    return f"{listen}:{address.rpartition(':')[2]}" if listen else address


def _is_name(address: str) -> bool:
    """Whether the host must be looked up, again and again, because its address may change."""
    host = address.rpartition(":")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    return False
