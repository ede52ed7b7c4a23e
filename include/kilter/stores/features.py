"""Features: Feast's feature view of a model, its offline rows in the object store, its online rows in a key-value store.

The view is derived from the spec. The join over offline rows is `kilter.stores.feature_rows`, which Feast takes too, by
`kilter.stores.offline`; here it is called itself, as importing Feast takes seconds. Materialisations go through a registry of their
own in a temporary folder, so that no process depends on what another one applied; the installation's registry is the
catalogue that people and other tools look at.
"""

from __future__ import annotations

import fcntl
import io
import logging
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from sqlalchemy.engine import make_url

from kilter.core.durations import before
from kilter.errors import DataError, InputError, UnavailableError
from kilter.keys import intervals_touching
from kilter.spec import ModelSpec
from kilter.stores.feature_rows import FeatureRows
from kilter.stores.feature_view import CREATED as CREATED
from kilter.stores.feature_view import PROJECT, configuration, definitions, is_redis
from kilter.stores.objects import ObjectStore, digest_of
from kilter.stores.online import FeastOnline
from kilter.stores.parquet import from_parquet

if TYPE_CHECKING:
    import feast
    import pandas as pd
    import pyarrow as pa

LOCK_WAIT = 30
"""Seconds that one writer of an SQLite registry waits for another."""


Join = Callable[["pa.Table"], "pa.Table"]


class FeatureStore:
    """The feature view of one model.

    Args:
        spec: names the entity, its event time and the features.
        objects: holds `features/<model>/<interval start>.parquet`.
        registry_url: SQLAlchemy URL of Feast's registry.
        online_store: an SQLite file's path, or `redis://host:port`, with Feast's options behind commas
            (`redis://redis:6379,db=1,password=…`).
    """

    def __init__(self, spec: ModelSpec, objects: ObjectStore, registry_url: str, online_store: str) -> None:
        self._spec = spec
        self._objects = objects
        self._registry_url = registry_url
        self._online_store = online_store

    def historical(self, entities: pd.DataFrame) -> pd.DataFrame:
        """Join each row with the features as they were known at its event time, never later ones.

        Args:
            entities: columns entity and event time, and any others, which are kept; no pair stands twice.

        Returns:
            The columns of `entities`, then the features in the spec's order; one row for each row of
            `entities`, in its order. Features older than `features.ttl`, or never built, are null.

        Raises:
            InputError: no entity rows.
            DataError: no features were ever built, or a pair stands twice.
        """
        import pandas as pd
        import pyarrow as pa

        spec, key = self._spec, [self._spec.entity, self._spec.timestamp]
        if entities.empty:
            raise InputError(f"model '{spec.name}': no entity rows to join features with: give at least one")
        if twice := int(entities.duplicated(key).sum()):
            raise DataError(
                f"model '{spec.name}': {twice} of {len(entities)} entity rows repeat others: "
                f"each pair of {spec.entity} and {spec.timestamp} may stand once only"
            )
        times = entities[spec.timestamp]
        # DuckDB compares no nanoseconds with the microseconds of the features.
        schema = pa.schema([(spec.entity, pa.string()), (spec.timestamp, pa.timestamp("us", "UTC"))])
        asked = pa.Table.from_pandas(entities[key], schema, preserve_index=False, safe=False)
        with self.reader(times.min(), times.max()) as join:
            found = join(asked).to_pandas()
        return pd.concat([entities.reset_index(drop=True), found], axis=1)

    def digests(self, first: datetime, last: datetime) -> dict[str, str]:
        """What `reader` reads for the same times: the features objects, each with its SHA-256; its errors."""
        found = {}
        for key in self._within(before(first, self._spec.features.ttl), last):
            with self._objects.open(key) as file:
                found[key] = digest_of(file)
        return found

    @contextmanager
    def reader(self, first: datetime, last: datetime) -> Iterator[Join]:
        """A function that looks the features of rows up, in pieces of a table whose event times lie in `[first, last]`.

        It takes a table with the columns entity (text) and event time, and returns one with the features in the spec's
        order, in the rows' order: numbers as float64, categories as text. A pair may stand more than once.

        Raises:
            DataError: no features were ever built.
        """
        import pyarrow as pa

        spec = self._spec
        types = {"numeric": pa.float64(), "categorical": pa.string()}
        schema = pa.schema([(feature.name, types[feature.kind]) for feature in spec.features.columns])
        with self._folder(self._within(before(first, spec.features.ttl), last)) as folder:
            files = sorted(map(str, folder.iterdir()))
            held = FeatureRows(files, spec.entity, spec.timestamp, CREATED, spec.features.ttl, schema)
            yield lambda rows: held.join(rows, spec.timestamp).select(schema.names)

    def materialize(self, start: datetime, end: datetime) -> int:
        """Put the newest features of each entity in `[start, end)` online; return how many entities.

        What a later interval put online stays: an older one, run after it by a backfill, writes nothing.

        Raises:
            DataError: no features were ever built.
            UnavailableError: the registry or the online store does not answer.
        """
        keys = self._within(start, end)
        with self._writer(), self._faults(), redirect_stdout(io.StringIO()):
            catalogue = self._catalogue()
            catalogue.apply(list(definitions(self._spec, self._objects.uri(f"features/{self._spec.name}/*.parquet"))))
            done = catalogue.get_feature_view(self._spec.name).materialization_intervals
            if any(last > end for _, last in done):
                return 0
            with self._local(keys) as store, _duckdb_in_utc():
                store.materialize(start, end - timedelta(microseconds=1), feature_views=[self._spec.name])
            if (start, end) not in done:
                view = catalogue.get_feature_view(self._spec.name)
                catalogue.registry.apply_materialization(view, PROJECT, start, end)
        return self._count(keys, start, end)

    def online(self, entities: Sequence[str]) -> pd.DataFrame:
        """Read the features of `entities` from the online store.

        Returns:
            The entity, the event time of what is online, to the second, then the features in the spec's
            order; one row for each entity, in the given order, null where nothing is online.

        Raises:
            UnavailableError: the online store does not answer.
        """
        import pandas as pd

        spec = self._spec
        rows = FeastOnline(spec, self._online_store).read(entities)
        values = [row.values if row else {} for row in rows]
        return pd.DataFrame(
            {
                spec.entity: list(entities),
                spec.timestamp: pd.to_datetime([row.at if row else None for row in rows], utc=True),
                **{name: [row.get(name) for row in values] for name in spec.features.names},
            }
        )

    # Feast

    def _open(self, registry: dict[str, Any]) -> feast.FeatureStore:
        import feast

        logging.getLogger("feast").setLevel(logging.WARNING)
        return feast.FeatureStore(config=configuration(registry, self._online_store))

    @contextmanager
    def _local(self, keys: Sequence[str]) -> Iterator[feast.FeatureStore]:
        """A store whose view reads the features objects under `keys`, by a registry that nobody else sees."""
        with self._folder(keys) as rows, tempfile.TemporaryDirectory(prefix="kilter-registry-") as folder:
            store = self._open({"path": f"{folder}/registry.db"})
            entity, view = definitions(self._spec, f"{rows}/*.parquet")
            # `store.apply` would also touch the online store, which a read must not.
            store.registry.apply_entity(entity, PROJECT)
            store.registry.apply_feature_view(view, PROJECT)
            yield store

    @contextmanager
    def _folder(self, keys: Sequence[str]) -> Iterator[Path]:
        """A folder with the features objects under `keys`: those of a store on this disk are links."""
        with tempfile.TemporaryDirectory(prefix="kilter-features-") as folder:
            for key in keys:
                self._place(key, Path(folder) / key.rpartition("/")[2])
            yield Path(folder)

    def _place(self, key: str, path: Path) -> None:
        address = urlparse(self._objects.uri(key))
        if address.scheme == "file":
            path.symlink_to(address.path)
        else:
            path.write_bytes(self._objects.get(key))

    def _catalogue(self) -> feast.FeatureStore:
        """The installation's registry, made on first use."""
        registry = make_url(self._registry_url)
        wait: dict[str, Any] = {}
        if registry.drivername.startswith("sqlite"):
            Path(registry.database or "").parent.mkdir(parents=True, exist_ok=True)
            wait = {"connect_args": {"timeout": LOCK_WAIT}}
        config = {"registry_type": "sql", "path": self._registry_url, "sqlalchemy_config_kwargs": wait}
        return self._open(config)

    @contextmanager
    def _writer(self) -> Iterator[None]:
        """One writer at a time where the online store is an SQLite file, which waits only 5 s by itself."""
        if is_redis(self._online_store):
            yield
            return
        path = Path(self._online_store)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn a registry or an online store that does not answer into an `UnavailableError`."""
        from sqlalchemy.exc import OperationalError

        away: tuple[type[Exception], ...] = (OperationalError, sqlite3.OperationalError)
        if is_redis(self._online_store):
            from redis.exceptions import ConnectionError, TimeoutError

            away = (*away, ConnectionError, TimeoutError)
        try:
            yield
        except away as error:
            registry = make_url(self._registry_url).render_as_string()
            online = self._online_store.partition(",")[0]
            raise UnavailableError(
                f"Feast's registry {registry} or online store {online}: {error}: are both up and writable?"
            ) from error

    # offline objects

    def _within(self, start: datetime, end: datetime) -> list[str]:
        """Keys of the features objects whose interval may hold rows of `[start, end]`."""
        keys = self._objects.list(f"features/{self._spec.name}/")
        if not keys:
            raise DataError(
                f"model '{self._spec.name}' has no features yet: run {self._spec.name}.feature_ingestion first"
            )
        return intervals_touching(keys, start, end)

    def _count(self, keys: Sequence[str], start: datetime, end: datetime) -> int:
        import pyarrow as pa
        import pyarrow.compute as pc

        entities = set()
        for key in keys:
            table = from_parquet(self._objects.get(key), key)
            times = table[self._spec.timestamp]
            inside = pc.and_(
                pc.greater_equal(times, pa.scalar(start, times.type)), pc.less(times, pa.scalar(end, times.type))
            )
            entities.update(table.filter(inside)[self._spec.entity].to_pylist())
        return len(entities)


@contextmanager
def _duckdb_in_utc() -> Iterator[None]:
    """Give Feast, by way of Ibis' default backend, a DuckDB connection that compares times in UTC on any machine."""
    import feast  # noqa: F401 - shows deprecation warnings from its import on
    import ibis

    before = ibis.options.default_backend
    backend = ibis.duckdb.connect()
    backend.raw_sql("SET TimeZone = 'UTC'")
    ibis.options.default_backend = backend
    try:
        with warnings.catch_warnings():
            # Ibis 12 is older than DuckDB 2.0, which renamed this.
            warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
            yield
    finally:
        ibis.options.default_backend = before
        backend.disconnect()
