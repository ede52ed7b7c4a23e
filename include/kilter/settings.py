"""Where the stores and servers of one installation are. Read from the environment at the edge only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kilter.errors import InputError

PREFIX = "KILTER_"


class Settings(BaseModel):
    """Addresses of the stores and servers; field `objects` is set by `KILTER_OBJECTS`, and so on.

    `home` holds everything of an embedded installation; each default lies below it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    models: Path
    """Folder with one folder per managed model."""
    objects: str
    """Object store: `file:///path` or `s3://bucket/prefix`."""
    ledger: str
    """SQLAlchemy URL of the ledger."""
    mlflow: str
    """MLflow tracking server."""
    feast_registry: str
    """SQLAlchemy URL of Feast's registry."""
    online_store: str
    """Feast's online store: a SQLite file's path, or `redis://host:port`."""
    router: str
    """HAProxy's runtime API: `host:port`."""
    endpoint: str
    """HAProxy's front end, where clients send requests."""
    champion: str
    """Model server of the champion role."""
    canary: str
    """Model server of the canary role."""
    spool: Path
    """Folder where model servers keep what they logged until the object store has it; each role in a folder of its own."""
    log_seconds: float = Field(gt=0)
    """How long answers are gathered before they become an object of the prediction log."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `KILTER_<FIELD>`; what is not set lies below `KILTER_HOME` (default `.kilter`).

        Raises:
            InputError: a value has the wrong form.
        """
        home = Path(environment.get(f"{PREFIX}HOME", ".kilter")).absolute()
        values = {
            "home": home,
            "models": Path("include/models").absolute(),
            "objects": f"file://{home}/store",
            "ledger": f"sqlite:///{home}/state/ledger.db",
            "mlflow": "http://127.0.0.1:5500",
            "feast_registry": f"sqlite:///{home}/state/feast_registry.db",
            "online_store": f"{home}/state/online_store.db",
            "router": "127.0.0.1:8999",
            "endpoint": "http://127.0.0.1:8900",
            "champion": "http://127.0.0.1:8901",
            "canary": "http://127.0.0.1:8902",
            "spool": home / "state/spool",
            "log_seconds": 1,
        }
        given = {key: environment[PREFIX + key.upper()] for key in values if PREFIX + key.upper() in environment}
        try:
            return cls.model_validate(values | given)
        except ValidationError as error:
            raise InputError(f"settings ({PREFIX}… environment variables): {error}") from None

    def to_environment(self) -> dict[str, str]:
        """The environment variables that give these settings to another process."""
        return {PREFIX + key.upper(): str(value) for key, value in self.model_dump().items()}
