"""The page of a drift report: what a reader finds."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pandas as pd

from kilter.core.drift.window import Window
from kilter.core.verdict import Judgement, Measured, Verdict
from kilter.drift_page import TITLES, bars, drift_page
from kilter.window_evidence import WindowEvidence

END = datetime(2024, 1, 9, tzinfo=UTC)
COLUMNS = {
    "heat": {"method": "wasserstein", "value": 0.4, "threshold": 0.1, "drifted": True},
    "line": {"method": "jensenshannon", "value": 0.02, "threshold": 0.1, "drifted": False},
}


def page(pages: dict[str, bytes] | None = None, **verdicts: Verdict) -> str:
    """The page when these judgements came out so, and all others passed."""
    judgements = tuple(judged(name, verdicts.get(name, Verdict.PASSED)) for name in TITLES)
    window = Window(END - timedelta(days=1), END, pd.DataFrame(), 12000, 300, {}, END)
    return drift_page("parts", 3, window, WindowEvidence(judgements, 0.2, pages or {}))


def judged(name: str, verdict: Verdict) -> Judgement:
    measured = Measured(label="lost", value=0.01, low=0.0, high=0.02, confidence=0.95, wanted="at_most", bound=0.05)
    given: dict[str, Any] = {"figures": {"columns": COLUMNS}} if name == "data_drift" else {"measured": (measured,)}
    return Judgement(name=name, verdict=verdict, reason=f"why <{name}>", **given)


def text_of(html: str) -> str:
    return unescape(" ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split()))


def test_the_verdict_comes_first_and_every_judgement_has_its_question_and_reason() -> None:
    text = text_of(page(data_drift=Verdict.FAILED))
    assert text.index("The world has moved") < text.index("12,000, 300 with a label") < text.index("The judgements")
    for name, (title, question) in TITLES.items():
        assert f"why <{name}>" in text
        assert title in text
        assert question in text
    assert "Somebody should look" not in text


def test_a_window_that_is_not_whole_calls_somebody() -> None:
    text = text_of(page(freshness=Verdict.INCONCLUSIVE))
    assert "Nobody can tell yet Somebody should look" in text


def test_it_links_evidentlys_pages_that_are_there() -> None:
    html = page(pages={"drift.html": b"", "predictions.html": b"", "drift.json": b""})
    assert re.findall(r'href="([a-z]+\.html)"', html) == ["drift.html", "predictions.html"]


def test_the_column_that_moved_farthest_comes_first_beside_its_bound() -> None:
    heat, line = bars({"columns": COLUMNS})
    assert (heat.name, line.name) == ("heat", "line")
    assert heat.bound == line.bound < heat.end
    assert line.end < line.bound
    assert bars({}) == []
