"""The model server: a bare ASGI application, because a row is scored in a tenth of a millisecond.

POST /models/<model>/invocations   score rows, in MLflow's protocol (`kilter.serving.request`)
GET  /models/<model>/ready         which version answers; 503 while none does
GET  /models/<model>/available     it wants requests: ready, and a canary is watched; what HAProxy asks
GET  /models/<model>/answers       seconds and scores of the newest answers, for whoever compares versions
GET  /models/<model>/copies        the newest requests, kept while somebody asks, to be copied to another version
GET  /models/<model>/ping          a version answers
GET  /models/<model>/version       the version of Kilter
GET  /models/<model>/openapi.json  what can be asked of this model, and its page: /models/<model>/docs
GET  /ping                         the process answers
GET  /version                      the version of Kilter
GET  /metrics                      what was answered, and the memory it took, for Prometheus
GET  /openapi.json                 what can be asked of all models that are held, and its page: /docs

The Open Inference Protocol (`kilter.serving.open_inference`), the last three also under …/versions/<version>:

GET  /v2                           name and version of this server
GET  /v2/health/live               the process answers
GET  /v2/health/ready              a version of some model answers
GET  /v2/models/<model>            its inputs and outputs
GET  /v2/models/<model>/ready      a version answers
POST /v2/models/<model>/infer      score rows
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NamedTuple

import msgspec
import uvicorn

import kilter
from kilter.encoding import Signature
from kilter.serving import open_inference, openapi
from kilter.serving.call import JSON, Call, Receive, Scope
from kilter.serving.copies import Copies
from kilter.serving.docs_page import page
from kilter.serving.lookup import Lookup
from kilter.serving.metrics import CONTENT_TYPE, ServerMetrics
from kilter.serving.models import WATCHED_SECONDS, LiveModels, LoadedModel
from kilter.serving.prediction_log import AnswerLog, Entry
from kilter.serving.request import RefusedRequest, Rows, parse
from kilter.serving.score import Score, one_number

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Parse = Callable[[bytes, Signature, datetime, Sequence[str]], Rows]

BODY_BYTES = 4 * 1024 * 1024
_KEEP_ALIVE_SECONDS = 120
"""Longer than HAProxy keeps an idle connection, so that it never sends on one that is being closed."""
_FAREWELL_SECONDS = 0.7
"""How long a server answers on while it says that it is not ready; HAProxy's checks need half of it to notice."""
_DRAIN_SECONDS = 5
"""How long what is in flight may take after that."""
_DIGITS = 18
"""Of a number of answers; Python refuses to read any number of them."""

_HTML = b"text/html; charset=utf-8"
_SWITCH_SECONDS = 0.0005
"""How long the threads that load models and write the log may keep the interpreter while an answer waits for it; a tenth
of Python's own value. It halves the longest answers while versions are swapped (docs/serving-speed.md)."""

_encode = msgspec.json.Encoder().encode


class Text(NamedTuple):
    """An answer that is not JSON."""

    content_type: bytes
    content: bytes


class ModelServer:
    """The ASGI application: holds models, answers, and logs what it answered."""

    def __init__(self, models: LiveModels, log: AnswerLog) -> None:
        self._models = models
        self._log = log
        self._metrics = ServerMetrics(log)
        self._copies: defaultdict[str, Copies] = defaultdict(Copies)
        self.leaving = False
        """Whether it will soon end, and wants no more requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        call, status, allowed = Call.of(scope, receive), 200, ""
        try:
            content = await self._answer(call)
        except RefusedRequest as error:
            status, content, allowed = error.status, call.refusal(error), error.allowed
        kind, text = content if isinstance(content, Text) else (JSON, _encode(content))
        await _reply(send, status, call.headers(kind, allowed), text)

    async def _answer(self, call: Call) -> dict[str, Any] | Text:
        match call.path.strip("/").split("/"):
            case ["models", name, "invocations"]:
                return await self._measured(name, None, call, self._invoke)
            case ["v2", "models", name, "infer"]:
                return await self._measured(name, None, call, self._infer)
            case ["v2", "models", name, "versions", version, "infer"]:
                return await self._measured(name, version, call, self._infer)
            case path:
                answer = self._tell(path, call)
                # Only now, so that what is nowhere is 404 by any method.
                call.allow("GET")
                return answer

    def _tell(self, path: Sequence[str], call: Call) -> dict[str, Any] | Text:
        """What there is to know at a path."""
        match path:
            case ["models", name, what]:
                return self._about(name, what, call)
            case ["v2", "models", name]:
                return open_inference.metadata(self._find(name, None, call))
            case ["v2", "models", name, "versions", version]:
                return open_inference.metadata(self._find(name, version, call))
            case ["v2", "models", name, "ready"]:
                return self._ready_by_protocol(name, None, call)
            case ["v2", "models", name, "versions", version, "ready"]:
                return self._ready_by_protocol(name, version, call)
            case _:
                return self._of_itself("/".join(path), call)

    def _about(self, name: str, what: str, call: Call) -> dict[str, Any] | Text:
        """What there is to know of a model."""
        match what:
            case "ready":
                return self._ready(name, call)
            case "available":
                return self._available(name, call)
            case "answers":
                return self._answers(name, call)
            case "copies":
                self._find(name, None, call)
                return self._copies[name].after(_known(call))
            case "ping":
                self._find(name, None, call)
                return {"status": "up"}
            case "version":
                self._find(name, None, call)
                return {"version": kilter.__version__}
            case "openapi.json" | "docs":
                return _documentation(what, [self._find(name, None, call)])
        raise _nothing_at(call)

    def _of_itself(self, path: str, call: Call) -> dict[str, Any] | Text:
        """What there is to know of the server."""
        match path:
            case "ping":
                return {"status": "up"}
            case "version":
                return {"version": kilter.__version__}
            case "metrics":
                return Text(CONTENT_TYPE, self._metrics.text(self._models.held()))
            case "openapi.json" | "docs":
                return _documentation(path, self._models.held())
            case "v2":
                return {"name": "kilter", "version": kilter.__version__, "extensions": []}
            case "v2/health/live":
                return {"live": True}
            case "v2/health/ready":
                self._stays()
                if not self._models.held():
                    raise RefusedRequest(503, "no version of any model is loaded: deploy one")
                return {"ready": True}
        raise _nothing_at(call)

    async def _measured(
        self,
        name: str,
        version: str | None,
        call: Call,
        score: Callable[[LoadedModel, bytes, Call], Awaitable[dict[str, Any]]],
    ) -> dict[str, Any]:
        """Score the body, and count what came of it."""
        call.allow("POST")
        body, status = b"", 200
        try:
            model = self._find(name, version, call)
            call.require_json()
            body = await _body(call.receive)
            return await score(model, body, call)
        except RefusedRequest as error:
            status = error.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            self._count(name, call, body, status)

    def _count(self, name: str, call: Call, body: bytes, status: int) -> None:
        """Count what came of a request; a copy is nobody's and counts for nothing."""
        if call.copy:
            return
        if status != 200:
            # A name that is no model's comes from a client, who could make up any number of them.
            self._metrics.refused("" if status == 404 else name, _version(call), status)
        if name in self._copies and self._copies[name].wanted:
            self._copies[name].keep(call, body, status)

    async def _invoke(self, model: LoadedModel, body: bytes, call: Call) -> dict[str, Any]:
        _, scores = await self._score(model, body, call, parse)
        return {"predictions": scores, "model_version": model.deployment.version, "request_id": call.id}

    async def _infer(self, model: LoadedModel, body: bytes, call: Call) -> dict[str, Any]:
        rows, scores = await self._score(model, body, call, open_inference.parse)
        return open_inference.answer(model, scores, rows.id or call.id)

    async def _score(self, model: LoadedModel, body: bytes, call: Call, parse: Parse) -> tuple[Rows, Sequence[Score]]:
        started = time.perf_counter()
        now = datetime.now(UTC)
        rows = parse(body, model.signature, now, model.optional)
        if model.lookup and rows.absent:
            rows = await self._looked_up(model, model.lookup, rows, call)
        scores = model.predict(rows.matrix)
        seconds = time.perf_counter() - started
        call.answer = seconds, one_number(scores[0])
        if not call.copy:
            model.answered(*call.answer)
            self._metrics.answered(model.deployment.model, model.deployment.version, seconds)
        self._log.add(Entry(model.deployment, model.signature, call.id, now, seconds * 1000, rows, scores, call.copy))
        return rows, scores

    async def _looked_up(self, model: LoadedModel, lookup: Lookup, rows: Rows, call: Call) -> Rows:
        """The rows with the features that the client left out; `RefusedRequest` where the spec wants them found."""
        found = await lookup.find(rows)
        if not call.copy:
            self._metrics.looked_up(model.deployment.model, model.deployment.version, found.outcomes)
        return lookup.complete(rows, found)

    def _ready_by_protocol(self, name: str, version: str | None, call: Call) -> dict[str, Any]:
        self._find(name, version, call)
        self._stays()
        return {"name": name, "ready": True}

    def _ready(self, name: str, call: Call) -> dict[str, Any]:
        model = self._find(name, None, call)
        self._stays()
        answer = {
            "model": name,
            "version": model.deployment.version,
            "digest": model.deployment.digest,
            "predictor": model.predictor,
        }
        if problem := self._models.problem(name):
            answer["problem"] = problem
        return answer

    def _available(self, name: str, call: Call) -> dict[str, Any]:
        """Ready, and somebody watches what it answers if it is a canary."""
        ready = self._ready(name, call)
        if self._models.role == "canary" and self._find(name, None, call).unwatched:
            raise RefusedRequest(503, f"nobody has watched this canary for {WATCHED_SECONDS:g} s: it wants no requests")
        return ready

    def _answers(self, name: str, call: Call) -> dict[str, Any]:
        """How long the newest answers took, and the score of the first row of each, as one number."""
        model = self._find(name, None, call)
        after = _known(call)
        model.watch()
        return {"digest": model.deployment.digest, "requests": model.requests, "answers": model.answers(after)}

    def _stays(self) -> None:
        if self.leaving:
            raise RefusedRequest(503, "this server is about to end: ask another")

    def _find(self, name: str, version: str | None, call: Call) -> LoadedModel:
        """The version that answers; `RefusedRequest` where there is none, or it is not the one that was asked for."""
        try:
            model = self._models.find(name)
        except KeyError:
            raise RefusedRequest(404, f"no model '{name}' here: its folder is not in this server's models") from None
        if model is None:
            problem = self._models.problem(name) or "nothing was deployed"
            raise RefusedRequest(503, f"no version of '{name}' is loaded: {problem}")
        call.model = model
        if version not in (None, str(model.deployment.version)):
            raise RefusedRequest(404, f"no version '{version}' of '{name}' here: {model.deployment.version} answers")
        return model

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start with the server and stop with it, writing the rest of the log."""
        await receive()
        await asyncio.to_thread(self._models.start)
        self._log.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._models.stop)
        await asyncio.to_thread(self._log.stop)
        await send({"type": "lifespan.shutdown.complete"})


def _known(call: Call) -> int:
    """How many the caller knows already, of what it asks for more."""
    after = call.query.removeprefix(b"after=")
    if not after.isdigit() or len(after) > _DIGITS:
        raise RefusedRequest(400, f"query '{call.query.decode(errors='replace')}': give after=N, those known already")
    return int(after)


async def _reply(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _documentation(what: str, models: Sequence[LoadedModel]) -> dict[str, Any] | Text:
    document = openapi.document(models)
    return document if what == "openapi.json" else Text(_HTML, page(document))


def _nothing_at(call: Call) -> RefusedRequest:
    return RefusedRequest(404, f"nothing at {call.path}: models are at /models/<model>/invocations, all of it at /docs")


def _version(call: Call) -> int | None:
    return call.model.deployment.version if call.model else None


async def _body(receive: Receive) -> bytes:
    """The whole body; `RefusedRequest` 413 beyond the limit, and 400 when the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedRequest(400, "body: broken off by the client")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES:
            raise RefusedRequest(413, f"body: more than {BODY_BYTES} bytes: send fewer rows a request")
        if not message.get("more_body"):
            return b"".join(parts)


def serve(server: ModelServer, host: str, port: int, log: logging.Logger) -> None:
    """Answer on `host:port` until SIGTERM or SIGINT, then finish what is in flight and write the log."""
    config = uvicorn.Config(
        server,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        # Who asked is not looked at.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    log.info("model server listens on http://%s:%d", host, port)
    _Listener(config, server).run()


class _Listener(uvicorn.Server):
    """Takes leave before it closes its connections: a request that meets a closed one is lost."""

    def __init__(self, config: uvicorn.Config, server: ModelServer) -> None:
        super().__init__(config)
        self._server = server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._server.leaving:
            super().handle_exit(sig, frame)
            return
        self._server.leaving = True
        later = threading.Timer(_FAREWELL_SECONDS, super().handle_exit, (sig, frame))
        later.daemon = True
        later.start()
