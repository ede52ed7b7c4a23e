"""The gate's report: what a reader of the page and of the JSON finds."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kilter.core.gate.judge import Action, judge
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.gate_report import CONSEQUENCES, TITLES, GateReport, forest, headline, make_report, outlooks, render
from kilter.holdout import Facts
from kilter.spec import CHECKS, load_spec

MODEL = Path(__file__).parents[3] / "include/models/flight_delay"
AS_OF = datetime(2013, 9, 1, tzinfo=UTC)


def seen(value: float, low: float, high: float, bound: float, label: str = "roc_auc") -> Measured:
    return Measured(label=label, value=value, low=low, high=high, confidence=0.95, wanted="at_least", bound=bound)


def row(name: str, value: float, worse: bool = False) -> dict[str, Any]:
    low, high = value - 0.01, value + 0.01
    return {"slice": name, "rows": 812, "value": value, "low": low, "high": high, "p": 0.5, "worse": worse}


def report(*judgements: Judgement, champion: int | None = 3, **rules: Any) -> GateReport:
    """The report when these checks said so and all others passed."""
    spec = load_spec(MODEL)
    spec = spec.model_copy(update={"gate": spec.gate.model_copy(update=rules)})
    said = {item.name: item for item in judgements}
    every = [said.get(name, Judgement(name=name, verdict=Verdict.PASSED, reason=f"why {name}")) for name in CHECKS]
    facts = Facts(
        version=7, model="models/m", digest="d", snapshot="s", champion=champion, as_of=AS_OF,
        start=AS_OF - timedelta(days=40), end=AS_OF - timedelta(hours=3), rows=38241, new_rows=112, prior=0.2,
        unseen_from=None,
        look=1,
        confidence=0.95,
    )  # fmt: skip
    return make_report(spec, facts, "holdouts/flight_delay/abc", judge(every, spec.gate))


def text_of(page: str) -> str:
    """What a browser shows, with single spaces."""
    return unescape(" ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split()))


def test_the_verdict_comes_first_in_plain_words_and_then_what_it_rests_on() -> None:
    failed = judge_measured("thresholds", [seen(0.6, 0.58, 0.61, 0.62)])
    text = text_of(render(report(failed)))
    assert text.index("Version 7 is refused") < text.index("the champion stays") < text.index("The checks")
    for words in (
        "version 3, the champion",
        "38,241 rows, 112 newer",
        "1 September 2013, 00:00 UTC",
        "Rows of one block of event time (1 day) share",
    ):
        assert words in text
    assert "roc_auc: would have to rise by 0.04 to be at least 0.62 for sure" in text


def test_every_check_is_told_with_its_arithmetic_and_its_weight() -> None:
    advisory = judge_measured("calibration", [seen(0.4, 0.3, 0.5, 0.6, "slope")])
    text = text_of(render(report(advisory, advisory=("calibration",))))
    assert "slope 0.4 (95 %: 0.3 … 0.5) < 0.6" in text
    assert "failed advisory calibration" in text
    for title, _ in TITLES.values():
        assert title in text


def test_each_number_with_an_interval_is_drawn_and_what_is_not_finite_is_only_told() -> None:
    drawn = judge_measured("thresholds", [seen(0.7, 0.66, 0.74, 0.62), seen(0.5, 0.4, 0.6, 0.3)])
    assert render(report(drawn)).count("<figure>") == render(report(drawn)).count("<svg") == 2
    broken = judge_measured("thresholds", [seen(float("nan"), float("nan"), float("nan"), 0.62)])
    page = render(report(broken))
    assert (page.count("<figure>"), page.count("<svg")) == (1, 0)
    assert "could not be judged" in page


def test_the_worst_slices_stand_in_a_table_with_those_too_small_to_judge() -> None:
    figures = {
        "reference": "champion version 3",
        "slices": [row("origin = EWR", 0.09, worse=True), *(row(f"carrier = {i}", 0.0) for i in range(14))],
        "small": [{"slice": "carrier = OO", "rows": 12}],
    }
    refused = Judgement(name="slices", verdict=Verdict.FAILED, reason="origin = EWR lost", figures=figures)
    page = render(report(refused))
    text = text_of(page)
    assert "lost against champion version 3, worst first" in text
    assert "origin = EWR 812 +0.0900" in text
    assert "3 more slices" in text
    assert "Too few rows to judge: carrier = OO (12)." in text
    assert page.count('<tr class="worse">') == 1


def test_nothing_to_lay_out_gives_no_table() -> None:
    assert forest({}, 0.02) is None
    assert forest({"slices": []}, 0.02) is None
    assert forest({"slices": [row("a", float("nan"))]}, 0.02) is None


def test_without_a_champion_the_page_says_so() -> None:
    assert "no champion yet" in text_of(render(report(champion=None)))


def test_a_further_look_is_told_with_its_wider_intervals() -> None:
    assert "time. Whoever looks again" not in text_of(render(report()))
    again = report().model_copy(update={"look": 2, "confidence": 0.975})
    text = text_of(render(again))
    assert "judged for the 2nd time" in text
    assert "hold the true value in 97.5 of 100" in text


def test_a_pass_tells_the_closest_call() -> None:
    passed = judge_measured("thresholds", [seen(0.7, 0.63, 0.77, 0.62), seen(0.9, 0.89, 0.91, 0.1, "recall")])
    assert "The closest call was: roc_auc 0.7" in text_of(render(report(passed)))


def test_a_check_without_numbers_is_told_by_its_reason() -> None:
    unknown = Judgement(name="provenance", verdict=Verdict.INCONCLUSIVE, reason="the image is not known")
    assert outlooks(report(unknown)) == [("provenance", ["the image is not known"])]


@pytest.mark.parametrize(("action", "verdict"), CONSEQUENCES)
def test_every_outcome_of_the_gate_has_its_words(action: Action, verdict: Verdict) -> None:
    said = Judgement(name="sanity", verdict=verdict, reason="why")
    rules = {
        (Action.ASK, Verdict.PASSED): {"approval": "always"},
        (Action.ASK, Verdict.INCONCLUSIVE): {"approval": "on_inconclusive"},
        (Action.REJECT, Verdict.INCONCLUSIVE): {"inconclusive": "reject"},
    }
    made = report(said, **rules.get((action, verdict), {}))
    assert (made.action, made.verdict) == (action, verdict)
    assert text_of(render(made)).count(headline(made)) == 1


def test_what_a_check_said_is_never_markup() -> None:
    nasty = Judgement(
        name="sanity",
        verdict=Verdict.FAILED,
        reason="<script>alert(1)</script>",
        figures={"feature": "</pre><img src=x onerror=alert(1)>"},
    )
    page = render(report(nasty))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = render(report())
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import", page)


def test_the_page_closes_what_it_opens() -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "line", "rect", "circle"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("line", "rect", "circle"):
                assert self.open.pop() == tag

    balance = Balance()
    figures = {"reference": "the prior", "slices": [row("a", 0.1)], "small": []}
    slices = Judgement(name="slices", verdict=Verdict.PASSED, reason="fine", figures=figures)
    balance.feed(render(report(slices, judge_measured("thresholds", [seen(0.7, 0.63, 0.77, 0.62)]))))
    assert balance.open == []


def test_the_json_holds_every_number_and_comes_back_the_same() -> None:
    broken = judge_measured("thresholds", [seen(0.7, 0.63, float("inf"), 0.62)])
    made = report(broken)
    assert GateReport.model_validate_json(made.model_dump_json()) == made
