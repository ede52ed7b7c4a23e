"""A model's feature view in Feast's words, derived from its spec, and the configuration that Feast is opened with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from kilter.spec import ModelSpec

if TYPE_CHECKING:
    import feast

PROJECT = "kilter"
"""Feast's name space, one for all models."""

CREATED = "created"
"""Column of a features object: when its row could first be used. Feast keeps later ones out of a join."""


def definitions(spec: ModelSpec, path: str) -> tuple[feast.Entity, feast.FeatureView]:
    """The entity and the view of a model whose features objects lie at `path`."""
    import feast
    from feast.types import Float64, String

    entity = feast.Entity(name=spec.entity, join_keys=[spec.entity], value_type=feast.ValueType.STRING)
    types = {"numeric": Float64, "categorical": String}
    source = feast.FileSource(
        name=f"{spec.name}_features", path=path, timestamp_field=spec.timestamp, created_timestamp_column=CREATED
    )
    schema = [feast.Field(name=feature.name, dtype=types[feature.kind]) for feature in spec.features.columns]
    view = feast.FeatureView(
        name=spec.name,
        entities=[entity],
        schema=[feast.Field(name=spec.entity, dtype=String), *schema],
        source=source,
        ttl=spec.features.ttl,
        description=spec.description,
        owner=spec.owner,
    )
    return entity, view


def configuration(registry: dict[str, Any], online_store: str) -> feast.RepoConfig:
    """Feast's configuration.

    Args:
        online_store: an SQLite file's path, or `redis://host:port`, with Feast's options behind commas
            (`redis://redis:6379,db=1,password=…`).
    """
    import feast

    online = (
        {"type": "redis", "connection_string": urlparse(online_store).netloc}
        if is_redis(online_store)
        else {"type": "sqlite", "path": online_store}
    )
    return feast.RepoConfig(
        project=PROJECT,
        provider="local",
        registry=registry,
        online_store=online,
        # By its name alone, which Feast imports on first use: a model server has no DuckDB.
        offline_store="kilter.stores.offline.PointInTimeOfflineStore",
        entity_key_serialization_version=3,
    )


def is_redis(online_store: str) -> bool:
    """Whether the online store is Redis, and not an SQLite file."""
    return urlparse(online_store).scheme == "redis"
