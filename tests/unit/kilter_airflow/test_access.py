"""What a step may reach follows from the stores that it declares."""

from pathlib import Path

import pytest

from kilter.spec import ModelSpec, load_spec
from kilter.step import StepInfo
from kilter_airflow.access import Access, access_of
from kilter_airflow.settings import RuntimeSettings

WORKER = {"AWS_SECRET_ACCESS_KEY": "s3cret", "MLFLOW_TRACKING_PASSWORD": "pass", "AIRFLOW__CORE__FERNET_KEY": "key"}
LOCAL = {"KILTER_HOME": "/srv/kilter"}
REMOTE = {**LOCAL, "KILTER_OBJECTS": "s3://bucket", "KILTER_LEDGER": "postgresql://u:p@db/ledger"}


@pytest.fixture
def spec() -> ModelSpec:
    return load_spec(Path(__file__).parents[2] / "models/waiting")


def access(spec: ModelSpec, *stores: str, where: dict[str, str] = LOCAL, calls: bool = False) -> Access:
    info = StepInfo(stores=frozenset(stores))  # type: ignore[arg-type]
    return access_of(info, spec, RuntimeSettings.from_environment(where), WORKER, calls)


def test_a_step_on_local_objects_gets_their_folder_and_no_network(spec: ModelSpec) -> None:
    found = access(spec, "objects")
    assert found.folders == (Path("/srv/kilter/store"),)
    assert not found.network
    assert set(found.environment) == {"KILTER_HOME", "KILTER_OBJECTS"}


def test_a_step_that_declares_nothing_still_reaches_the_store_of_its_result(spec: ModelSpec) -> None:
    assert access(spec).folders == (Path("/srv/kilter/store"),)


def test_ledger_and_features_on_sqlite_add_one_folder_and_no_network(spec: ModelSpec) -> None:
    found = access(spec, "ledger", "features")
    assert found.folders == (Path("/srv/kilter/state"), Path("/srv/kilter/store"))
    assert not found.network
    assert {"KILTER_LEDGER", "KILTER_FEAST_REGISTRY", "KILTER_ONLINE_STORE"} < set(found.environment)


def test_the_online_store_alone_gives_neither_registry_nor_ledger(spec: ModelSpec) -> None:
    found = access(spec, "online")
    assert found.folders == (Path("/srv/kilter/state"), Path("/srv/kilter/store"))
    assert "KILTER_ONLINE_STORE" in found.environment
    assert not {"KILTER_FEAST_REGISTRY", "KILTER_LEDGER"} & set(found.environment)
    assert access(spec, "online", where={**LOCAL, "KILTER_ONLINE_STORE": "redis://redis:6379"}).network


@pytest.mark.parametrize("store", ["registry", "router", "servers"])
def test_a_store_behind_a_server_needs_the_network(spec: ModelSpec, store: str) -> None:
    assert access(spec, store).network


def test_an_endpoint_to_call_needs_the_network(spec: ModelSpec) -> None:
    assert access(spec, "objects", calls=True).network


def test_a_ledger_on_a_server_needs_the_network_and_no_folder(spec: ModelSpec) -> None:
    found = access(spec, "ledger", where={**LOCAL, "KILTER_LEDGER": REMOTE["KILTER_LEDGER"]})
    assert found.network
    assert found.folders == (Path("/srv/kilter/store"),)


def test_objects_in_s3_need_the_network_and_its_credentials_and_no_folder(spec: ModelSpec) -> None:
    found = access(spec, "objects", where=REMOTE)
    assert found.network
    assert found.folders == ()
    assert found.environment["AWS_SECRET_ACCESS_KEY"] == "s3cret"


def test_a_step_gets_no_address_and_no_secret_of_a_store_that_it_does_not_declare(spec: ModelSpec) -> None:
    found = access(spec, "objects", where=REMOTE)
    assert "KILTER_LEDGER" not in found.environment
    assert "MLFLOW_TRACKING_PASSWORD" not in found.environment
    assert not [name for name in found.environment if name.startswith("AIRFLOW")]


def test_only_steps_that_use_the_registry_get_its_password(spec: ModelSpec) -> None:
    assert access(spec, "registry").environment["MLFLOW_TRACKING_PASSWORD"] == "pass"


def with_source(spec: ModelSpec, **changes: object) -> ModelSpec:
    return spec.model_copy(update={"source": spec.source.model_copy(update=changes)})


def test_a_source_in_s3_gives_the_step_that_opens_it_network_and_credentials(spec: ModelSpec) -> None:
    on_s3 = with_source(spec, kind="s3", bucket="raw")
    extracting, other = access(on_s3, "source"), access(on_s3, "objects")
    assert extracting.network
    assert "AWS_SECRET_ACCESS_KEY" in extracting.environment
    assert not other.network


def test_a_python_source_gets_network_and_variables_only_where_its_model_asks_for_them(spec: ModelSpec) -> None:
    asking = with_source(spec, network=True, environment=("MLFLOW_TRACKING_PASSWORD",))
    assert access(asking, "source").network
    assert access(asking, "source").environment["MLFLOW_TRACKING_PASSWORD"] == "pass"
    assert not access(spec, "source").network
    assert "MLFLOW_TRACKING_PASSWORD" not in access(asking, "objects").environment


@pytest.mark.parametrize(
    ("path", "folder"),
    [("/data/flights.csv", "/data"), ("/data/*/flights-*.parquet", "/data"), ("/data/raw/20[12]*/f.csv", "/data/raw")],
)
def test_files_outside_the_models_folder_are_mounted_for_reading_only(spec: ModelSpec, path: str, folder: str) -> None:
    table = spec.source.tables["facts"].model_copy(update={"path": path})
    found = access(with_source(spec, kind="files", tables={"facts": table}), "source")
    assert found.sources == (Path(folder),)
    assert found.folders == (Path("/srv/kilter/store"),)


def test_files_in_the_models_own_folder_need_no_mount(spec: ModelSpec) -> None:
    table = spec.source.tables["facts"].model_copy(update={"path": "raw/*.csv"})
    assert access(with_source(spec, kind="files", tables={"facts": table}), "source").sources == ()


def test_a_table_in_another_bucket_brings_network_and_credentials_to_the_steps_that_read_it(spec: ModelSpec) -> None:
    def reading(table: str, *stores: str) -> Access:
        info = StepInfo(stores=frozenset(stores))  # type: ignore[arg-type]
        return access_of(info, spec, RuntimeSettings.from_environment(LOCAL), WORKER, calls=False, table=table)

    outside = reading("s3://lake/flights/*.parquet", "objects", "tables")
    assert outside.network
    assert outside.environment["AWS_SECRET_ACCESS_KEY"] == "s3cret"
    for found in (reading("tables/*.parquet", "objects", "tables"), reading("s3://lake/flights/*.parquet", "objects")):
        assert not found.network
        assert "AWS_SECRET_ACCESS_KEY" not in found.environment
        assert found.folders == (Path("/srv/kilter/store"),)
