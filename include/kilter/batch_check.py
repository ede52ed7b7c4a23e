"""Measure the tables of a batch against a model's expectations, with Great Expectations.

Measures only: `kilter.core.batch` judges the findings.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.core.batch import Finding
from kilter.expectations import Column
from kilter.spec import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DTYPES: dict[str, list[str]] = {
    "text": ["str"],
    "number": [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)] + ["float32", "float64"],
    "time": ["datetime64[us]"],
}
"""Names of pandas types that a column type of expectations.json stands for."""

SHOWN = 3
"""Unexpected values shown in a finding."""


def check_table(
    name: str, data: pa.Table, columns: Mapping[str, Column], table: Table, start: datetime, end: datetime
) -> list[Finding]:
    """Measure one table: schema first, then the values of the columns that are there with the right type.

    Args:
        data: the table's rows, context rows included.
        columns: what each column must hold; a column not listed is unexpected.
        table: names the event time, which must lie in `[start, end)`, and the key, which must not repeat.
    """
    frame = _to_naive_frame(data)
    schema = _measure(name, frame, [_columns_match(columns)])
    present = {column: rules for column, rules in columns.items() if column in frame.columns}
    types = _measure(name, frame, [_type_of(column, rules) for column, rules in present.items()])
    sound = {finding.column for finding in types if finding.passed}
    wanted = [item for column, rules in present.items() if column in sound for item in _values_of(column, rules)]
    if table.timestamp in sound:
        wanted.append(_time_within(table.timestamp, start, end))
    if table.key and sound.issuperset(table.key):
        wanted.append(_no_repeats(table.key))
    return schema + types + _measure(name, frame, wanted)


def _to_naive_frame(data: pa.Table) -> pd.DataFrame:
    """A data frame with times without a zone, in UTC: Great Expectations cannot tell the type of others."""
    frame = data.to_pandas()
    for column in frame.select_dtypes("datetimetz"):
        frame[column] = frame[column].dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    return frame


def _columns_match(columns: Mapping[str, Column]) -> Any:
    from great_expectations import expectations as gxe

    meta = {"allowed": f"exactly {', '.join(columns)}"}
    return gxe.ExpectTableColumnsToMatchSet(column_set=list(columns), exact_match=True, meta=meta)


def _type_of(column: str, rules: Column) -> Any:
    from great_expectations import expectations as gxe

    return gxe.ExpectColumnValuesToBeInTypeList(
        column=column, type_list=DTYPES[rules.type], meta={"allowed": f"type {rules.type}"}
    )


def _values_of(column: str, rules: Column) -> list[Any]:
    from great_expectations import expectations as gxe

    wanted = [
        gxe.ExpectColumnValuesToNotBeNull(
            column=column, mostly=1 - rules.nulls, meta={"allowed": f"{rules.nulls:.2%} null"}
        )
    ]
    if rules.minimum is not None or rules.maximum is not None:
        low = "-∞" if rules.minimum is None else f"{rules.minimum:g}"
        high = "∞" if rules.maximum is None else f"{rules.maximum:g}"
        meta = {"allowed": f"{low} … {high}, {rules.outliers:.2%} outside"}
        between = gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=rules.minimum, max_value=rules.maximum, mostly=1 - rules.outliers, meta=meta
        )
        wanted.append(between)
    if rules.categories:
        meta = {"allowed": ", ".join(rules.categories)}
        wanted.append(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(rules.categories), meta=meta))
    return wanted


def _time_within(column: str, start: datetime, end: datetime) -> Any:
    import pandas as pd
    from great_expectations import expectations as gxe

    first, last = (pd.Timestamp(time).tz_convert("UTC").tz_localize(None) for time in (start, end))
    meta = {"allowed": f"{first} ≤ time < {last} UTC"}
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=first, max_value=last, strict_max=True, meta=meta)


def _no_repeats(key: Sequence[str]) -> Any:
    from great_expectations import expectations as gxe

    meta = {"allowed": f"one row for each {', '.join(key)}"}
    if len(key) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=key[0], meta=meta)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(key), meta=meta)


def _measure(table: str, frame: pd.DataFrame, expectations: Sequence[Any]) -> list[Finding]:
    import great_expectations as gx

    if not expectations:
        return []
    # It warns of each exception that it also reports in its result.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("batch").add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    results = batch.validate(gx.ExpectationSuite(name=table, expectations=list(expectations))).results
    findings = [_finding(table, result) for result in results]
    return sorted(findings, key=lambda finding: (finding.column or "", finding.expectation))


def _finding(table: str, result: Any) -> Finding:
    config = result.expectation_config
    raised = _raised(result.exception_info)
    return Finding(
        table=table,
        column=config.kwargs.get("column"),
        expectation=config.type,
        passed=None if raised else bool(result.success),
        observed=f"an exception, {raised}" if raised else _observed(result.result),
        allowed=config.meta["allowed"],
    )


def _raised(info: Mapping[str, Any]) -> str | None:
    """The message of an exception while measuring; the mapping is flat, or one such mapping a metric."""
    inner = [info] if "raised_exception" in info else list(info.values())
    return next((item["exception_message"] for item in inner if item.get("raised_exception")), None)


def _observed(result: Mapping[str, Any]) -> str:
    mismatched = result.get("details", {}).get("mismatched")
    if mismatched is not None:
        return (
            " and ".join(f"{kind} {', '.join(names)}" for kind, names in sorted(mismatched.items())) or "no difference"
        )
    if "unexpected_count" not in result:
        return str(result.get("observed_value"))
    count, total = result["unexpected_count"], result["element_count"]
    if not count:
        return f"none of {total} rows otherwise"
    values = dict.fromkeys(str(value) for value in result["partial_unexpected_list"])
    return f"{count} of {total} rows ({count / total:.2%}) otherwise, such as {', '.join(list(values)[:SHOWN])}"
