"""Cron lines, checked by a strict pattern: the steps' image holds no cron library, and a wrong line must not reach Airflow."""

from __future__ import annotations

import calendar
import re

FIELDS = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 6)}
"""The fields in order, each with its least and its greatest value. Sunday is 0."""

_PART = re.compile(r"(?:\*|(\d{1,2})|(\d{1,2})-(\d{1,2}))(?:/(\d{1,2}))?", re.ASCII)
_LEAP_YEAR = 2024


def check_cron(line: str) -> str:
    """Return a cron line of five fields as it is.

    A field is `*`, `*/2`, `5`, `1-5`, `0-30/10`, or several of them with commas. Names (MON) and presets
    (@daily) are refused.

    Raises:
        ValueError: it is no such line, or names a day that no month has.

    >>> check_cron("0 0 1 * *")
    '0 0 1 * *'
    >>> check_cron("0 0 31 2 *")
    Traceback (most recent call last):
        ...
    ValueError: cron '0 0 31 2 *': no month has such a day: correct day of month or month
    """
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"cron '{line}': expected five fields ({', '.join(FIELDS)}), such as '0 0 1 * *'; "
            "presets such as @daily and fields for seconds are not allowed"
        )
    values = {name: _values(line, name, field) for name, field in zip(FIELDS, fields, strict=True)}
    longest = max(calendar.monthrange(_LEAP_YEAR, month)[1] for month in values["month"])
    if fields[-1] == "*" and min(values["day of month"]) > longest:
        raise ValueError(f"cron '{line}': no month has such a day: correct day of month or month")
    return line


def _values(line: str, name: str, field: str) -> set[int]:
    """All values that a field stands for."""
    least, greatest = FIELDS[name]
    values: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[1] and match[4]):
            raise _wrong(line, name, field)
        first, last = int(match[1] or match[2] or least), int(match[1] or match[3] or greatest)
        step = int(match[4] or 1)
        if not (least <= first <= last <= greatest and 1 <= step <= greatest):
            raise _wrong(line, name, field)
        values.update(range(first, last + 1, step))
    return values


def _wrong(line: str, name: str, field: str) -> ValueError:
    least, greatest = FIELDS[name]
    return ValueError(
        f"cron '{line}': {name} '{field}' is not allowed; allowed are numbers from {least} to {greatest}, *, */2, "
        "1-5 and lists of them"
    )
