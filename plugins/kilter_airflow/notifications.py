"""Telling people what happened to a model: what a step put out becomes a notice, and each channel of `notify` that wants it sends it.

A notice that cannot be sent is a line in the task's log, and never a task's failure.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, Context

from kilter.errors import InputError
from kilter.spec import Channel, Happening, ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import Connection

Outputs = Mapping[str, Any]

_SECONDS = 10.0
"""How long a server may take to answer a notice."""
_SUBJECT = 200
"""Letters of a subject that mail programs and phones still show."""


@dataclass(frozen=True)
class Notice:
    """What happened, in words: `subject` in one line."""

    event: Happening
    subject: str
    text: str


class StepNotifier(BaseNotifier):
    """Tells what a step put out, on the channels of the model that want to know of it.

    Args:
        spec: the model.
        step: name of the step, which says what its outputs mean.
    """

    def __init__(self, spec: ModelSpec, step: str) -> None:
        super().__init__()
        self.spec = spec
        self.step = step

    def notify(self, context: Context) -> None:
        """Tell what the task put out, if it is something to tell."""
        task = context["ti"]
        self.tell(task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index) or {}, context)

    def tell(self, outputs: Outputs, context: Context) -> None:
        """Tell of these outputs."""
        notice = notice_of(self.step, outputs, context["params"])
        if notice is None:
            return
        for channel in self.spec.notify.channels:
            if notice.event in channel.events:
                self._send(channel, notice, context)

    def _send(self, channel: Channel, notice: Notice, context: Context) -> None:
        told = f"{channel.kind} by the connection '{channel.connection}'"
        try:
            _SENDERS[channel.kind](channel, self.spec.name, notice, context)
        except Exception as error:
            # Whatever it is: nobody's training or rollout fails because a mail was not sent. And not the error's own words, in
            # which libraries like to quote the address, of which Slack's is a secret.
            self.log.warning(
                "not told of %s: %s: %s: see the connection in Airflow, and the server",
                notice.event,
                told,
                _plain(error),
            )
        else:
            self.log.info("told of %s: %s", notice.event, told)


def notifiers(spec: ModelSpec, step: str) -> list[StepNotifier]:
    """The callbacks of a step's task: none where nobody is told, or the step does nothing to tell of."""
    wanted = {event for channel in spec.notify.channels for event in channel.events}
    return [StepNotifier(spec, step)] if wanted & _EVENTS.get(step, frozenset()) else []


def notice_of(step: str, outputs: Outputs, params: Mapping[str, Any]) -> Notice | None:
    """What a step's outputs tell; None when it is nothing to tell people of.

    Args:
        params: of the DAG run.
    """
    return _NOTICES[step](outputs, params) if step in _NOTICES else None


def _retrain_started(outputs: Outputs, params: Mapping[str, Any]) -> Notice:
    rows = ", ".join(f"{part} {count}" for part, count in outputs["rows"].items())
    text = f"{params.get('reason') or 'no reason given'}\n\nRows: {rows}. Snapshot: {outputs['snapshot']}."
    return Notice("retrain_started", "retraining began", text)


def _decided(outputs: Outputs, params: Mapping[str, Any]) -> Notice | None:
    event: Happening | None = "alert" if outputs["alert"] else "inconclusive" if outputs["unsure"] else None
    return event and Notice(event, f"decision {outputs['decision']}: {outputs['action']}", outputs["reason"])


def _judged(outputs: Outputs, params: Mapping[str, Any]) -> Notice:
    subject = f"the gate says {outputs['verdict']}, so {outputs['action']}"
    return Notice("gate_verdict", subject, f"{outputs['reason']}\n\nReport: {outputs['report']}/gate_report.html")


def _observed(outputs: Outputs, params: Mapping[str, Any]) -> Notice | None:
    version = params.get("version")
    if outputs["held"]:
        return Notice("inconclusive", f"the rollout of version {version} is held for a person", outputs["reason"])
    if outputs["verdict"] != "passed":
        return None  # `roll_back` tells
    return Notice("rollout_moved", f"the rollout of version {version} goes on", outputs["reason"])


def _promoted(outputs: Outputs, params: Mapping[str, Any]) -> Notice:
    version, before = outputs["version"], outputs["predecessor"]
    if outputs["held"]:
        return Notice("inconclusive", f"the promotion of version {version} is held for a person", outputs["reason"])
    return Notice("rollout_moved", f"version {version} is the champion", f"It follows version {before or 'none'}.")


def _rolled_back(outputs: Outputs, params: Mapping[str, Any]) -> Notice | None:
    if not outputs["rolled_back"]:
        return None
    return Notice("rolled_back", f"version {params.get('version')} was rolled back", outputs["reason"])


def _controlled(outputs: Outputs, params: Mapping[str, Any]) -> Notice:
    event: Happening = "rolled_back" if outputs["state"] == "rolled_back" else "rollout_moved"
    subject = f"the rollout of version {outputs['version']} is {outputs['state']}"
    return Notice(event, subject, f"Rollout {outputs['rollout']}. {params.get('reason') or ''}")


def _watched(outputs: Outputs, params: Mapping[str, Any]) -> Notice | None:
    if outputs["action"] != "settle":
        return None  # `roll_back` tells
    return Notice("rollout_moved", f"version {outputs['version']} stays the champion", outputs["reason"])


_NOTICES: dict[str, Callable[[Outputs, Mapping[str, Any]], Notice | None]] = {
    "arbitrate": _decided,
    "freeze_dataset": _retrain_started,
    "judge": _judged,
    "shadow": _observed,
    "canary": _observed,
    "promote": _promoted,
    "roll_back": _rolled_back,
    "control_rollout": _controlled,
    "watch": _watched,
}
_MOVES: frozenset[Happening] = frozenset({"rollout_moved", "inconclusive"})
_EVENTS: dict[str, frozenset[Happening]] = {
    "arbitrate": frozenset({"alert", "inconclusive"}),
    "freeze_dataset": frozenset({"retrain_started"}),
    "judge": frozenset({"gate_verdict"}),
    "shadow": _MOVES,
    "canary": _MOVES,
    "promote": _MOVES,
    "roll_back": frozenset({"rolled_back"}),
    "control_rollout": frozenset({"rollout_moved", "rolled_back"}),
    "watch": frozenset({"rollout_moved"}),
}
"""What each step may tell of."""


def _by_mail(channel: Channel, model: str, notice: Notice, context: Context) -> None:
    """By Airflow's own notifier; sender and server are the connection's."""
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    body = f"<pre>{html.escape(notice.text)}</pre><p>{html.escape(_source(context))}</p>"
    mail = SmtpNotifier(
        to=list(channel.to),
        subject=_subject(model, notice),
        html_content=body,
        smtp_conn_id=channel.connection,
    )
    mail.notify(context)


def _in_slack(channel: Channel, model: str, notice: Notice, context: Context) -> None:
    """By an incoming webhook: the connection's host is `https://hooks.slack.com/services`, its password what follows there."""
    connection = _connection(channel)
    text = "\n".join([f"*{_subject(model, notice)}*", notice.text, _source(context)])
    for letter, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, code)
    _post(f"{_url(connection).rstrip('/')}/{connection.password or ''}", {"text": text}, {})


def _to_webhook(channel: Channel, model: str, notice: Notice, context: Context) -> None:
    """As JSON to the connection's host, with its password, if it has one, as a bearer token."""
    connection = _connection(channel)
    task = context["ti"]
    body = {
        "model": model,
        "event": notice.event,
        "subject": notice.subject,
        "text": notice.text,
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
    }
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    _post(_url(connection), body, headers)


_SENDERS: dict[str, Callable[[Channel, str, Notice, Context], None]] = {
    "smtp": _by_mail,
    "slack": _in_slack,
    "webhook": _to_webhook,
}


def _connection(channel: Channel) -> Connection:
    from airflow.sdk import Connection

    return Connection.get(channel.connection)


def _url(connection: Connection) -> str:
    address = connection.host or ""
    if not address.startswith(("https://", "http://")):
        raise InputError(
            f"connection '{connection.conn_id}': its host must be a whole address, such as https://example.org/hook"
        )
    return address


def _post(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    import httpx

    # Its line at INFO holds the whole address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    answer = httpx.post(url, json=body, headers=dict(headers), timeout=_SECONDS)
    if not answer.is_success:
        raise InputError(f"the server answered {answer.status_code}")


def _subject(model: str, notice: Notice) -> str:
    return " ".join(f"{model}: {notice.subject}".split())[:_SUBJECT]


def _source(context: Context) -> str:
    task = context["ti"]
    return f"{task.dag_id}, run {task.run_id}, task {task.task_id}"


def _plain(error: Exception) -> str:
    """An error without words of others."""
    return str(error) if isinstance(error, InputError) else type(error).__name__
