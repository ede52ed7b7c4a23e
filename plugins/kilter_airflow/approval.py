"""Ask a person whether a judged candidate may be promoted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param

from kilter.core.durations import in_words
from kilter.spec import ModelSpec
from kilter_airflow.conditions import Conditional, Fact

APPROVE, REJECT = "Approve", "Reject"
NOBODY = "nobody"

_REASON = Param("", type="string", maxLength=1000, title="Reason", description="Kept in the ledger and in MLflow.")
_BODY = """\
**Verdict: {verdict}.** {reason}

The report with every check and its arithmetic is `gate/gate_report.html` among the artifacts of version {version}'s run
in MLflow, and `{report}/gate_report.html` in the object store.

*Approve* starts the canary promotion. *Reject* leaves the champion where it is. Without an answer within {within},
nothing is promoted.
"""


class AskOperator(Conditional, HITLOperator):
    """Wait for a person's answer about a candidate; without one in time, the answer is no.

    The task waits without a worker, and needs a retry: when Airflow takes it for dead (as 3.3.2 does with one that is
    answered within a second), the next try asks again. It puts out `approved`, `person`, `reason` and `answered_at`.

    Args:
        spec: the model; `gate.approval_within` is how long to wait.
        choose: id of the task that chose the version.
        judge: id of the task that judged it.
        only_if: facts of which one must hold, else the task is skipped.
    """

    ui_color = "#f7ecc8"

    def __init__(
        self,
        *,
        spec: ModelSpec,
        choose: str = "choose_candidate",
        judge: str = "judge",
        only_if: Sequence[Fact] = (),
        **kwargs: Any,
    ) -> None:
        def output(task: str, key: str) -> str:
            return "{{ ti.xcom_pull('" + task + "', key='" + key + "') }}"

        version = output(choose, "version")
        super().__init__(
            subject=f"{spec.name}: promote version {version}? The gate says: {output(judge, 'verdict')}",
            body=_BODY.format(
                verdict=output(judge, "verdict"),
                reason=output(judge, "reason"),
                report=output(judge, "report"),
                version=version,
                within=in_words(spec.gate.approval_within),
            ),
            options=[APPROVE, REJECT],
            defaults=REJECT,
            response_timeout=spec.gate.approval_within,
            multiple_outputs=True,
            only_if=only_if,
            # Not as an argument beside `kwargs`: Airflow puts the DAG's own Params there.
            **kwargs | {"params": {"reason": _REASON}},
        )
        self._patience = in_words(spec.gate.approval_within)

    @property
    def answer(self) -> dict[str, Any]:
        """The outputs, each to be resolved when the task that is given them runs."""
        return {key: self.output[key] for key in ("approved", "person", "reason", "answered_at")}

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Turn Airflow's answer into outputs; no answer in time is a rejection by nobody."""
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        given = (answer["params_input"] or {}).get("reason") or ""
        return {
            "approved": answer["chosen_options"] == [APPROVE],
            "person": person["name"] if person else NOBODY,
            "reason": given if person else f"no answer within {self._patience}",
            "answered_at": answer["responded_at"].isoformat(),
        }
