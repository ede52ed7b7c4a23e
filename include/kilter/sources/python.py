"""Source kind `python`: a function in the model's source.py."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.errors import DataError, InputError
from kilter.model_code import load_function
from kilter.spec import Source

if TYPE_CHECKING:
    import pyarrow as pa


def call_function(source: Source, folder: Path, start: datetime, end: datetime) -> dict[str, pa.Table]:
    """Call `source.function(start, end)`, which returns a data frame for each table.

    Raises:
        InputError: there is no such function, or it returns anything else.
        DataError: a frame holds a column of mixed types.
    """
    frames = load_function(folder, "source.py", source.function)(start, end)
    if not isinstance(frames, dict):
        raise InputError(
            f"{folder / 'source.py'}: {source.function}() returned {type(frames).__name__}, "
            "expected a dict of table name to data frame"
        )
    return {name: _to_arrow(frame, f"{folder / 'source.py'}: table '{name}'") for name, frame in frames.items()}


def _to_arrow(frame: object, owner: str) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{owner} is {type(frame).__name__}, expected a pandas DataFrame")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except pa.ArrowException as error:
        raise DataError(
            f"{owner} has a column of mixed types: {'; '.join(map(str, error.args))}: give it one type"
        ) from error
