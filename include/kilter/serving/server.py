"""The model server: a bare ASGI application, because a row is scored in a tenth of a millisecond.

POST /models/<model>/invocations   score rows
GET  /models/<model>/ready         which version answers; 503 while none does
GET  /models/<model>/answers       seconds and scores of the newest answers, for whoever compares versions
GET  /ping                         the process answers
GET  /version                      the version of Kilter
GET  /metrics                      what was answered, and the memory it took, for Prometheus
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec
import uvicorn

import kilter
from kilter.serving.metrics import CONTENT_TYPE, ServerMetrics
from kilter.serving.models import LiveModels, LoadedModel
from kilter.serving.prediction_log import Entry, PredictionLog
from kilter.serving.request import RefusedRequest, parse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_BYTES = 4 * 1024 * 1024
_KEEP_ALIVE_SECONDS = 120
"""Longer than HAProxy keeps an idle connection, so that it never sends on one that is being closed."""
_FAREWELL_SECONDS = 0.7
"""How long a server answers on while it says that it is not ready; HAProxy's checks need half of it to notice."""
_DRAIN_SECONDS = 5
"""How long what is in flight may take after that."""

_encode = msgspec.json.Encoder().encode


class ModelServer:
    """The ASGI application: holds models, answers, and logs what it answered."""

    def __init__(self, models: LiveModels, log: PredictionLog) -> None:
        self._models = models
        self._log = log
        self._metrics = ServerMetrics()
        self.leaving = False
        """Whether it will soon end, and wants no more requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["path"] == "/metrics":
            await _reply(send, 200, [(b"content-type", CONTENT_TYPE)], self._metrics.text(self._models.held()))
            return
        request_id = uuid.uuid4().hex
        headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
        try:
            status, content = 200, await self._answer(scope, receive, request_id)
        except RefusedRequest as error:
            status, content = error.status, {"error": str(error), "request_id": request_id}
        if "model_version" in content:
            headers.append((b"x-model-version", str(content["model_version"]).encode()))
        await _reply(send, status, headers, _encode(content))

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> dict[str, Any]:
        match scope["path"].strip("/").split("/"):
            case ["models", name, "invocations"]:
                _allow(scope, "POST")
                return await self._invoke(name, receive, request_id)
            case ["models", name, "ready"]:
                _allow(scope, "GET")
                return self._ready(name)
            case ["models", name, "answers"]:
                _allow(scope, "GET")
                return self._answers(name, scope["query_string"])
            case ["ping"]:
                return {"status": "up"}
            case ["version"]:
                return {"version": kilter.__version__}
            case _:
                raise RefusedRequest(404, f"nothing at {scope['path']}: models are at /models/<model>/invocations")

    async def _invoke(self, name: str, receive: Receive, request_id: str) -> dict[str, Any]:
        """Score the body, and count what came of it."""
        version = None
        try:
            model = self._find(name)
            version = model.deployment.version
            return self._score(model, await _body(receive), request_id)
        except RefusedRequest as error:
            # A name that is no model's comes from a client, who could make up any number of them.
            self._metrics.refused("" if error.status == 404 else name, version, error.status)
            raise
        except Exception:
            self._metrics.refused(name, version, 500)
            raise

    def _score(self, model: LoadedModel, body: bytes, request_id: str) -> dict[str, Any]:
        started = time.perf_counter()
        now = datetime.now(UTC)
        rows = parse(body, model.signature, now)
        scores = model.predict(rows.matrix)
        seconds = time.perf_counter() - started
        model.answered(seconds, scores)
        self._metrics.answered(model.deployment.model, model.deployment.version, seconds)
        self._log.add(Entry(model.deployment, model.signature, request_id, now, seconds * 1000, rows, scores))
        return {"predictions": scores, "model_version": model.deployment.version, "request_id": request_id}

    def _ready(self, name: str) -> dict[str, Any]:
        model = self._find(name)
        if self.leaving:
            raise RefusedRequest(503, "this server is about to end: ask another")
        answer = {
            "model": name,
            "version": model.deployment.version,
            "digest": model.deployment.digest,
            "predictor": model.predictor,
        }
        if problem := self._models.problem(name):
            answer["problem"] = problem
        return answer

    def _answers(self, name: str, query: bytes) -> dict[str, Any]:
        """How long the newest answers took, and the score of the first row of each."""
        model = self._find(name)
        after = query.removeprefix(b"after=")
        if not after.isdigit():
            raise RefusedRequest(
                400, f"query '{query.decode(errors='replace')}': give after=N, the answers known already"
            )
        return {"digest": model.deployment.digest, "requests": model.requests, "answers": model.answers(int(after))}

    def _find(self, name: str) -> LoadedModel:
        try:
            model = self._models.find(name)
        except KeyError:
            raise RefusedRequest(404, f"no model '{name}' here: its folder is not in this server's models") from None
        if model is None:
            problem = self._models.problem(name) or "nothing was deployed"
            raise RefusedRequest(503, f"no version of '{name}' is loaded: {problem}")
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


async def _reply(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _allow(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise RefusedRequest(405, f"{scope['method']} {scope['path']}: only {method} is allowed here")


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
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
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
