"""Judge a batch: its findings against the expectations, and its row counts against recent intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from statistics import median

from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Judgement, Verdict, worst

DAY = timedelta(days=1)


class Finding(BaseModel):
    """The outcome of one expectation on one table; `passed` is None when it could not be measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    column: str | None
    expectation: str
    passed: bool | None
    observed: str
    allowed: str

    def __str__(self) -> str:
        owner = f"{self.table}.{self.column}" if self.column else self.table
        return f"{owner}: {self.expectation}: observed {self.observed}; allowed {self.allowed}"


class RowCount(BaseModel):
    """Rows of one table in an interval of some length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    length: timedelta

    @property
    def a_day(self) -> float:
        return self.rows / (self.length / DAY)


def judge_batch(
    findings: Sequence[Finding],
    counts: Mapping[str, RowCount],
    recent: Mapping[str, Sequence[RowCount]],
    ratios: tuple[float, float],
    minimum_intervals: int,
) -> Judgement:
    """Combine everything known of a batch into one verdict.

    - failed: an expectation failed, a table has no rows in the interval, or its rows a day are outside
      `ratios` times the median of the recent intervals;
    - error: nothing failed, but an expectation could not be measured;
    - inconclusive: nothing was checked;
    - passed: all else. With fewer than `minimum_intervals` recent intervals the row count has nothing to be
      compared with: that part is inconclusive, and the reason says so, but rows that were there and met
      every expectation pass, or no first batch ever could.

    Args:
        counts: rows of each table in the interval, without context rows.
        recent: the same of earlier passed intervals, by table.
        ratios: smallest and largest allowed rows a day, as multiples of the median.
    """
    content = _judge_findings(findings)
    amounts = [
        judge_row_count(table, count, recent.get(table, ()), ratios, minimum_intervals)
        for table, count in counts.items()
    ]
    decisive = [content, *(item for item in amounts if item.verdict is not Verdict.INCONCLUSIVE)]
    verdict = worst(item.verdict for item in decisive)
    told = [item for item in (content, *amounts) if verdict is Verdict.PASSED or item.verdict is not Verdict.PASSED]
    return Judgement(
        name="batch",
        verdict=verdict,
        reason="; ".join(item.reason for item in told),
        figures={
            "expectations": len(findings),
            "row_counts": {table: item.model_dump(mode="json") for table, item in zip(counts, amounts, strict=True)},
        },
    )


def judge_row_count(
    table: str, count: RowCount, recent: Sequence[RowCount], ratios: tuple[float, float], minimum_intervals: int
) -> Judgement:
    """Compare the rows of an interval with recent ones; lengths may differ, as months do.

    >>> month = timedelta(days=30)
    >>> earlier = [RowCount(rows=300, length=month), RowCount(rows=330, length=month)]
    >>> judge_row_count("flights", RowCount(rows=90, length=month), earlier, (0.5, 2.0), 2).reason
    'flights: 90 rows, allowed 158 … 630 (0.5 … 2 × the median rate of the last 2 passed intervals)'
    """
    low, high = ratios
    days = count.length / DAY
    figures = {"rows": count.rows, "days": days, "recent": [item.a_day for item in recent]}
    if count.rows == 0:
        reason = f"{table}: 0 rows in the interval, allowed at least 1"
        return Judgement(name=table, verdict=Verdict.FAILED, reason=reason, figures=figures)
    if len(recent) < minimum_intervals:
        reason = f"{table}: {count.rows} rows, not compared: {len(recent)} recent passed intervals, {minimum_intervals} needed"
        return Judgement(name=table, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    usual = median(item.a_day for item in recent) * days
    verdict = Verdict.PASSED if low * usual <= count.rows <= high * usual else Verdict.FAILED
    reason = (
        f"{table}: {count.rows} rows, allowed {low * usual:.0f} … {high * usual:.0f} "
        f"({low:g} … {high:g} × the median rate of the last {len(recent)} passed intervals)"
    )
    return Judgement(name=table, verdict=verdict, reason=reason, figures=figures)


def _judge_findings(findings: Sequence[Finding]) -> Judgement:
    failed = [str(finding) for finding in findings if finding.passed is False]
    unmeasured = [str(finding) for finding in findings if finding.passed is None]
    if failed:
        return Judgement(name="expectations", verdict=Verdict.FAILED, reason="; ".join(failed + unmeasured))
    if unmeasured:
        return Judgement(name="expectations", verdict=Verdict.ERROR, reason="; ".join(unmeasured))
    verdict = Verdict.PASSED if findings else Verdict.INCONCLUSIVE
    return Judgement(name="expectations", verdict=verdict, reason=f"{len(findings)} expectations met")
