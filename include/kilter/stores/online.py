"""What is online of an entity: the newest features that were materialised, and of when they are.

Feast's own reader is asked, below its registry: the view is derived from the spec, so no registry has to be there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from kilter.errors import UnavailableError
from kilter.spec import ModelSpec
from kilter.stores.feature_view import configuration, definitions, is_redis

BATCH = 500
"""Entities of one query; SQLite takes a limited number of values."""

_EPOCH = datetime.fromtimestamp(0, UTC)
"""Feast's time of an entity that Redis does not hold."""


class OnlineRow(NamedTuple):
    """What is online of one entity.

    Args:
        at: its event time, to the second.
        values: by feature, None where it has none.
    """

    at: datetime
    values: Mapping[str, Any]


class OnlineStore(Protocol):
    """Where the newest features of entities are read."""

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        """What is online of each entity, None where nothing is.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...


class FeastOnline:
    """Feast's online store as one model sees it; threads may share it.

    Args:
        spec: names the entity and the features.
        online_store: as `kilter.settings.Settings` has it.
        names: the features that are read; all by default.
        timeout: how long Redis may take to connect, and to answer, each twice at most; by default as long as it
            likes, and again after seconds. An SQLite file that is being written is waited for, up to 5 s.
    """

    def __init__(
        self, spec: ModelSpec, online_store: str, names: Sequence[str] | None = None, timeout: timedelta | None = None
    ) -> None:
        from feast.infra.online_stores.helpers import get_online_store_from_config

        # Feast's import sets it for servers of its own; to Prometheus' client it says that many processes count.
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        logging.getLogger("feast").setLevel(logging.WARNING)
        self._model = spec.name
        self._keys = [spec.entity]
        self._names = spec.features.names if names is None else names
        self._address = online_store
        self._file = "" if is_redis(online_store) else online_store
        self._config = configuration({"path": "none"}, _impatient(online_store, timeout))
        self._store = get_online_store_from_config(self._config.online_store)
        if is_redis(online_store) and timeout is not None:
            self._retry_at_once()
        _, self._view = definitions(spec, "none")
        self._faults = _faults(online_store)

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        """What is online of each entity, in their order; each is asked for once."""
        # Opening an absent file would make an empty one.
        if self._file and not os.path.exists(self._file):
            raise UnavailableError(f"online store {self._file} is absent: run {self._model}.feature_ingestion first")
        different = list(dict.fromkeys(entities))
        found: dict[str, OnlineRow | None] = {}
        try:
            for start in range(0, len(different), BATCH):
                batch = different[start : start + BATCH]
                found.update(zip(batch, self._read(batch), strict=True))
        except self._faults as error:
            raise UnavailableError(
                f"online store {self._address.partition(',')[0]}: {error}: is it up, and was anything of "
                f"'{self._model}' ever put online?"
            ) from error
        return [found[entity] for entity in entities]

    def _retry_at_once(self) -> None:
        """Let Redis' client try a broken connection once more, not thrice with seconds between."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # Feast's connection string has no word for it.
        self._store._get_client(self._config.online_store).set_retry(Retry(NoBackoff(), 1))

    def _read(self, entities: Sequence[str]) -> Iterator[OnlineRow | None]:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        keys = [EntityKey(join_keys=self._keys, entity_values=[Value(string_val=entity)]) for entity in entities]
        # A new list of names each time: Feast appends to it. SQLite gives all features all the same.
        for at, values in self._store.online_read(self._config, self._view, keys, list(self._names)):
            if at is None or at == _EPOCH:
                yield None
            else:
                known = {name: _plain(values[name]) for name in self._names if name in values}
                yield OnlineRow(at.replace(microsecond=0), known)


def _faults(online_store: str) -> tuple[type[Exception], ...]:
    """What Feast's reader raises where the store does not answer."""
    if not is_redis(online_store):
        return sqlite3.Error, OSError
    from redis.exceptions import RedisError

    return RedisError, OSError


def _impatient(online_store: str, timeout: timedelta | None) -> str:
    """The address with limits to waiting, where it has none of its own."""
    if timeout is None or not is_redis(online_store):
        return online_store
    limits = [f"{name}={timeout.total_seconds()}" for name in ("socket_timeout", "socket_connect_timeout")]
    return ",".join([online_store, *(limit for limit in limits if f",{limit.partition('=')[0]}=" not in online_store)])


def _plain(value: Any) -> Any:
    """The value inside Feast's message, None where it has none."""
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)
