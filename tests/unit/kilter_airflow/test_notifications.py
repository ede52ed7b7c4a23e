"""Notices: what steps tell, and that they arrive at a real mail server and a real web server, or harm nobody."""

from __future__ import annotations

import email
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from kilter.spec import Channel, Notify
from kilter_airflow.catalogue import spec_of
from kilter_airflow.notifications import StepNotifier, notice_of, notifiers
from kilter_airflow.operators import HoldableStepOperator, StepOperator

pytestmark = pytest.mark.usefixtures("home")

JUDGED = {
    "verdict": "failed",
    "action": "reject",
    "reason": "roc_auc 0.7 < 0.8 & <worse>",
    "report": "gate_reports/m/1",
}
SECRET = "T0/B0/hush"


class Mailbox(socketserver.ThreadingTCPServer):
    """A small SMTP server (RFC 5321) that keeps what it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.mails: list[email.message.Message] = []


class _Smtp(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 test")
        for line in self.rfile:
            command = line.decode().strip().upper()
            if command == "DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(email.message_from_bytes(b"".join(lines)))
            if command == "QUIT":
                return
            self._say("250 fine")

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


class Site(ThreadingHTTPServer):
    """A web server that keeps what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.posts: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 200


class _Hook(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        pass


Server = Mailbox | Site


@pytest.fixture
def serve() -> Iterator[Callable[[type[Server]], Any]]:
    begun: list[Server] = []

    def start(kind: type[Server]) -> Server:
        server = kind()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begun.append(server)
        return server

    yield start
    for server in begun:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_connection(name: str, **values: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))

    return set_connection


def notifier(step: str, **channel: Any) -> StepNotifier:
    spec = spec_of("waiting").model_copy(update={"notify": Notify(channels=(Channel(**channel),))})
    return StepNotifier(spec, step)


def tell(step: str, outputs: Any, params: Any = None, **channel: Any) -> None:
    """As Airflow does after the task."""
    task = SimpleNamespace(
        dag_id="waiting.dag", run_id="run", task_id="task", map_index=-1, xcom_pull=lambda **_: outputs
    )
    notifier(step, **channel)({"ti": task, "params": params or {}, "dag": None})


def test_a_mail_arrives_with_subject_and_reason(serve: Any, connect: Any) -> None:
    mailbox = serve(Mailbox)
    extra = {"from_email": "kilter@example.org", "disable_ssl": True, "disable_tls": True, "retry_limit": 0}
    host, port = mailbox.server_address
    connect("post", conn_type="smtp", host=host, port=port, extra=extra)
    tell("judge", JUDGED, kind="smtp", connection="post", to=["ann@example.org", "bob@example.org"])
    (mail,) = mailbox.mails
    assert mail["Subject"] == "waiting: the gate says failed, so reject"
    assert (mail["From"], mail["To"]) == ("kilter@example.org", "ann@example.org, bob@example.org")
    body = (
        next(part for part in mail.walk() if part.get_content_type() == "text/html").get_payload(decode=True).decode()
    )
    assert "roc_auc 0.7 &lt; 0.8 &amp; &lt;worse&gt;" in body
    assert "waiting.dag, run run, task task" in body


def test_a_slack_message_arrives_at_the_address_that_the_password_completes(serve: Any, connect: Any) -> None:
    site = serve(Site)
    connect("chat", conn_type="http", host=f"http://127.0.0.1:{site.server_port}/services", password=SECRET)
    tell("judge", JUDGED, kind="slack", connection="chat")
    ((path, _, body),) = site.posts
    assert path == f"/services/{SECRET}"
    assert body["text"].startswith(
        "*waiting: the gate says failed, so reject*\nroc_auc 0.7 &lt; 0.8 &amp; &lt;worse&gt;"
    )


def test_a_webhook_gets_json_and_the_password_as_its_token(serve: Any, connect: Any) -> None:
    site = serve(Site)
    connect("hook", conn_type="http", host=f"http://127.0.0.1:{site.server_port}/kilter", password="hush")
    tell("judge", JUDGED, kind="webhook", connection="hook")
    ((path, token, body),) = site.posts
    assert (path, token) == ("/kilter", "Bearer hush")
    assert (body["model"], body["event"], body["dag_id"]) == ("waiting", "gate_verdict", "waiting.dag")
    assert body["text"].startswith(JUDGED["reason"])


def test_only_what_a_channel_wants_is_sent(serve: Any, connect: Any) -> None:
    site = serve(Site)
    connect("hook", conn_type="http", host=f"http://127.0.0.1:{site.server_port}")
    tell("judge", JUDGED, kind="webhook", connection="hook", events=["alert"])
    assert site.posts == []


@pytest.mark.parametrize("fault", ["refused", "down", "no connection", "no address"])
@pytest.mark.parametrize("kind", ["slack", "webhook"])
def test_a_notice_that_cannot_be_sent_is_a_warning_without_secrets(
    serve: Any, connect: Any, capfd: Any, caplog: Any, kind: str, fault: str
) -> None:
    site = serve(Site)
    site.status = 403 if fault == "refused" else 200
    port = 1 if fault == "down" else site.server_port
    host = "example.org" if fault == "no address" else f"http://127.0.0.1:{port}"
    if fault != "no connection":
        connect("hook", conn_type="http", host=host, password=SECRET)
    caplog.set_level("DEBUG")
    tell("judge", JUDGED, kind=kind, connection="hook")
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "not told of gate_verdict" in logged
    assert SECRET not in logged


def test_a_mail_server_that_is_away_harms_nobody(connect: Any, capfd: Any, caplog: Any) -> None:
    connect("post", conn_type="smtp", host="127.0.0.1", port=1, login="ann", password=SECRET, extra={"retry_limit": 0})
    tell("judge", JUDGED, kind="smtp", connection="post", to=["ann@example.org"])
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "not told of gate_verdict: smtp by the connection 'post': ConnectionRefusedError" in logged
    assert SECRET not in logged


MOVED = {"verdict": "passed", "reason": "why", "held": False}


@pytest.mark.parametrize(
    ("step", "outputs", "event", "subject"),
    [
        ("freeze_dataset", {"snapshot": "s", "rows": {"train": 5}}, "retrain_started", "retraining began"),
        ("judge", JUDGED, "gate_verdict", "the gate says failed, so reject"),
        ("canary", MOVED, "rollout_moved", "the rollout of version 7 goes on"),
        ("shadow", MOVED | {"verdict": "failed"}, None, ""),
        ("canary", MOVED | {"verdict": "inconclusive", "held": True}, "inconclusive", "version 7 is held"),
        ("promote", {"version": 7, "predecessor": 6, "held": False, "reason": ""}, "rollout_moved", "is the champion"),
        ("roll_back", {"rolled_back": True, "reason": "why"}, "rolled_back", "version 7 was rolled back"),
        ("roll_back", {"rolled_back": False, "reason": "why"}, None, ""),
        ("control_rollout", {"rollout": 1, "version": 7, "state": "rolled_back"}, "rolled_back", "7 is rolled_back"),
        ("control_rollout", {"rollout": 1, "version": 7, "state": "held"}, "rollout_moved", "7 is held"),
        ("watch", {"action": "settle", "version": 7, "reason": "why"}, "rollout_moved", "7 stays the champion"),
        ("watch", {"action": "wait", "version": 7, "reason": "why"}, None, ""),
        ("arbitrate", {"decision": 3, "action": "wait", "alert": True, "unsure": True, "reason": "r"}, "alert", "wait"),
        ("arbitrate", {"decision": 3, "action": "retrain", "alert": False, "unsure": True, "reason": "r"}, "inconclusive", "3"),
        ("arbitrate", {"decision": 3, "action": "retrain", "alert": False, "unsure": False, "reason": "r"}, None, ""),
        ("extract", {"batch": "b"}, None, ""),
    ],
)  # fmt: skip
def test_what_a_step_tells(step: str, outputs: Any, event: str | None, subject: str) -> None:
    notice = notice_of(step, outputs, {"version": 7, "reason": "asked"})
    assert (notice and notice.event) == event
    if notice is not None:
        assert subject in notice.subject


def test_a_subject_is_one_line_however_the_reason_is_written() -> None:
    notice = notice_of(
        "roll_back", {"rolled_back": True, "reason": "a\nBcc: all@example.org"}, {"version": "7\r\nBcc: x"}
    )
    assert notice is not None
    assert "\n" in notice.subject
    # What is sent has it in one line: see the mail's subject, which no header can follow.
    from kilter_airflow.notifications import _subject

    assert _subject("waiting", notice) == "waiting: version 7 Bcc: x was rolled back"


def test_callbacks_are_there_only_where_somebody_wants_to_know() -> None:
    silent = spec_of("waiting")
    channel = Channel(kind="webhook", connection="hook", events=("rolled_back",))
    spec = silent.model_copy(update={"notify": Notify(channels=(channel,))})
    assert notifiers(silent, "judge") == []
    assert notifiers(spec, "judge") == []
    assert [type(item) for item in notifiers(spec, "roll_back")] == [StepNotifier]


def test_a_task_of_such_a_step_has_the_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(kind="webhook", connection="hook")
    spec = spec_of("waiting").model_copy(update={"notify": Notify(channels=(channel,))})
    monkeypatch.setattr("kilter_airflow.operators.spec_of", lambda model: spec)
    told = StepOperator(task_id="judge", step="judge", model="waiting")
    assert [item.step for item in told.on_success_callback] == ["judge"]


def test_a_rollout_that_is_held_is_told_before_the_task_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(kind="webhook", connection="hook")
    spec = spec_of("waiting").model_copy(update={"notify": Notify(channels=(channel,))})
    monkeypatch.setattr("kilter_airflow.operators.spec_of", lambda model: spec)
    held = {"verdict": "inconclusive", "reason": "why", "held": True}
    monkeypatch.setattr(StepOperator, "execute", lambda self, context: held)
    told: list[Any] = []
    monkeypatch.setattr(StepNotifier, "tell", lambda self, outputs, context: told.append(outputs))
    operator = HoldableStepOperator(task_id="canary", step="canary", model="waiting", inputs={"rollout": 1})
    monkeypatch.setattr(operator, "defer", lambda **_: None)
    operator.execute.__wrapped__(operator, {"params": {}})
    assert told == [held]
