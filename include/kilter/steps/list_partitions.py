"""List what a batch scoring has to score, and by which version, once for all of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from kilter.champion import champion_of
from kilter.errors import InputError
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry", "tables"}), memoised=False)


class Inputs(StepModel):
    table: str = ""
    """As `kilter.stores.tables.partitions` takes it. Empty: all features of the model, to score whom and when they name."""
    version: Annotated[int | None, BeforeValidator(lambda value: value or None)] = None
    """Null or empty: the champion."""
    again: bool = False
    """Score also where equal requests were answered before."""


class Outputs(StepModel):
    table: str
    version: int
    partitions: list[dict[str, Any]]
    """Inputs of `score_partition`, one for each."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Name each partition with the version that scores it, so that a promotion meanwhile does not split the table.

    Raises:
        InputError: there is no champion and no version was given, or the table lies where no step may read.
        DataError: the table has no Parquet file.
        UnavailableError: MLflow, the ledger or S3 does not answer.
    """
    from kilter.stores.tables import partitions

    name = context.spec.name
    table = inputs.table or f"features/{name}/*.parquet"
    version = inputs.version or champion_of(name, context.registry, context.ledger)
    if version is None:
        raise InputError(f"model '{name}' has no champion yet: give a version, or promote one first")
    found = context.registry.version(name, version)
    names = partitions(context.objects, table)
    context.log.info("%d partitions of %s, scored by version %d", len(names), table, version)
    common = {
        "table": table,
        "version": version,
        "model": found.key,
        "snapshot": found.snapshot,
        "again": inputs.again,
    }
    return Outputs(table=table, version=version, partitions=[{"partition": name, **common} for name in names])
