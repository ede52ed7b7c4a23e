"""Policies side by side: the arbiter under a spec, and the yardsticks that need no judgement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kilter.errors import SpecError
from kilter.spec import ModelSpec

SECTIONS = ("arbiter", "gate")
"""Sections of model.yaml that a policy file may have; what it leaves out is the model's."""

RECENT = 4
"""Windows that the yardstick *last windows* trains on."""


@dataclass(frozen=True)
class Yardstick:
    """Retrain after every `every` windows, whatever they show; never when `every` is 0.

    Args:
        last: windows to train on; None for all history.
    """

    name: str
    every: int
    last: int | None = None


@dataclass(frozen=True)
class Arbitrated:
    """Whatever the arbiter decides under this spec."""

    name: str
    spec: ModelSpec


Policy = Yardstick | Arbitrated


def yardsticks(every: int) -> list[Yardstick]:
    """The five that every backtest has beside it.

    Args:
        every: the k of *every k windows*.
    """
    return [
        Yardstick("never", 0),
        Yardstick(f"every {every}, all history", every),
        Yardstick(f"every {every}, last windows", every, RECENT),
        Yardstick("always, all history", 1),
        Yardstick("always, last windows", 1, RECENT),
        Yardstick("always, last window", 1, 1),
    ]


def read_policy(file: Path, spec: ModelSpec) -> Arbitrated:
    """A policy out of a YAML file with any of the sections `SECTIONS`, in the form that they have in model.yaml.

    Raises:
        SpecError: the file cannot be read, has another section, or an unknown or impossible key.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{file}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or (foreign := sorted(content.keys() - set(SECTIONS))):
        found = ", ".join(map(str, foreign)) if isinstance(content, dict) else type(content).__name__
        raise SpecError(
            f"{file}: got {found}; a policy file has the sections {', '.join(SECTIONS)} of model.yaml: remove the rest"
        )
    # What the spec leaves at its default was not said, and some sections refuse what is said in vain.
    whole: dict[str, Any] = spec.model_dump(exclude_unset=True)
    for section, keys in content.items():
        if not isinstance(keys, dict | None):
            raise SpecError(f"{file}: {section}: got {keys!r}, expected a mapping of keys, as in model.yaml")
        whole[section] = {**whole.get(section, {}), **(keys or {})}
    try:
        return Arbitrated(file.stem, ModelSpec.model_validate(whole))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})" for item in error.errors()
        )
        raise SpecError(f"{file}: {wrong}: correct it") from None
