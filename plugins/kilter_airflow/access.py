"""What a step may reach: only the settings, mounts and network that its declared stores need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from kilter.settings import Settings
from kilter.spec import ModelSpec, Source
from kilter.step import StepInfo
from kilter_airflow.settings import RuntimeSettings

SETTINGS_OF: dict[str, tuple[str, ...]] = {
    "objects": ("home", "objects"),
    "ledger": ("ledger",),
    "features": ("feast_registry", "online_store"),
    "online": ("online_store",),
    "registry": ("mlflow",),
    "router": ("router",),
    "servers": ("champion", "canary"),
    "source": (),
    "tables": (),
}
"""The settings that each store is opened with."""

SECRETS_OF: dict[str, tuple[str, ...]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ),
    "registry": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
}
"""Variables of the worker that go on to the steps that need them, and to nobody else."""

SERVERS = frozenset({"registry", "router", "servers"})
"""Stores that always answer over the network."""


@dataclass(frozen=True)
class Access:
    """What one step of one model may reach.

    Args:
        environment: its variables; may hold secrets, so it is never logged.
        folders: folders to mount, as Airflow sees them.
        sources: folders to mount for reading only.
        network: whether it talks to anything over the network.
    """

    environment: Mapping[str, str]
    folders: tuple[Path, ...]
    sources: tuple[Path, ...]
    network: bool


def access_of(
    info: StepInfo,
    spec: ModelSpec,
    settings: RuntimeSettings,
    worker: Mapping[str, str],
    calls: bool,
    table: str = "",
) -> Access:
    """Work out a step's access.

    Args:
        worker: the Airflow worker's environment, where secrets come from.
        calls: whether the step is given an endpoint to call.
        table: the table that it is given, by which a step that declares `tables` may reach S3.
    """
    stores: set[str] = {"objects", *info.stores}
    source = spec.source if "source" in stores else None
    addresses = _addresses(stores, settings.stores)
    folders = {folder for folder in map(_folder, addresses) if folder}
    remote = any(_folder(address) is None for address in addresses)
    outside = "tables" in stores and table.startswith("s3:")
    s3 = settings.stores.objects.startswith("s3:") or outside or (source is not None and source.kind == "s3")
    passed_on = [*(SECRETS_OF["s3"] if s3 else ()), *(SECRETS_OF["registry"] if "registry" in stores else ())]
    passed_on += source.environment if source else ()
    return Access(
        environment=_settings(stores, settings.stores) | {name: worker[name] for name in passed_on if name in worker},
        folders=tuple(sorted(folders)),
        sources=_source_folders(source) if source else (),
        network=calls or s3 or remote or bool(stores & SERVERS) or (source is not None and source.network),
    )


def _settings(stores: set[str], settings: Settings) -> dict[str, str]:
    names = {name for store in stores for name in SETTINGS_OF[store]}
    every = settings.to_environment()
    return {key: every[key] for key in (f"KILTER_{name.upper()}" for name in sorted(names))}


def _addresses(stores: set[str], settings: Settings) -> list[str]:
    """Addresses of those stores that may be files."""
    found = [settings.objects]
    if "ledger" in stores:
        found.append(settings.ledger)
    if "features" in stores:
        found.append(settings.feast_registry)
    if stores & {"features", "online"}:
        found.append(settings.online_store)
    return found


def _folder(address: str) -> Path | None:
    """The folder that holds a store, or None when the store is elsewhere."""
    if address.startswith("file:"):
        return Path(urlparse(address).path)
    if address.startswith("sqlite:///"):
        return Path(address.removeprefix("sqlite:///")).parent
    return None if "://" in address else Path(address).parent


def _source_folders(source: Source) -> tuple[Path, ...]:
    """The folders outside the model's own that hold its files; what follows a wildcard lies below them."""
    paths = [Path(table.path) for table in source.tables.values() if source.kind == "files" and table.path]
    return tuple(sorted({_fixed(path.parent) for path in paths if path.is_absolute()}))


def _fixed(folder: Path) -> Path:
    """The part of a pattern before its first wildcard."""
    return next(path for path in (folder, *folder.parents) if not set("*?[") & set(str(path)))
