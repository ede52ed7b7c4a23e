"""The managed models, as the DAG files see them: folders below KILTER_MODELS."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kilter.errors import SpecError
from kilter.settings import Settings
from kilter.spec import ModelSpec, load_spec, model_folders


def specs() -> Iterator[ModelSpec]:
    """The models whose `model.yaml` is right, by name.

    One with a mistake is left out here, so that it does not hide the others; `check_specs` reports it.
    """
    for folder in model_folders(_models().models):
        try:
            yield load_spec(folder)
        except SpecError:
            continue


def check_specs() -> None:
    """Raise one `SpecError` with every mistake in every `model.yaml`; nothing when all are right."""
    settings = _models()
    folders = model_folders(settings.models)
    mistakes = (
        []
        if folders
        else [f"{settings.models}: no model folders here: set KILTER_MODELS, or add one with a model.yaml"]
    )
    for folder in folders:
        try:
            load_spec(folder)
        except SpecError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SpecError("\n".join(mistakes))


def spec_of(model: str) -> ModelSpec:
    """The spec of one model; `SpecError` when its folder is missing or wrong."""
    return load_spec(_models().models / model)


def _models() -> Settings:
    return Settings.from_environment(os.environ)
