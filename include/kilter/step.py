"""What a step is, and how one is run: the same way in a container, a process and a test.

A step is a module `kilter.steps.<name>` with

    STEP = StepInfo(stores={"objects"}, reads=("source",))
    class Inputs(StepModel): ...
    class Outputs(StepModel): ...
    def run(inputs: Inputs, context: StepContext) -> Outputs: ...

Inputs and outputs are small facts and keys into the object store, never data.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import pkgutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError

import kilter
import kilter.steps
from kilter.devices import Kind, choose_device
from kilter.errors import InputError
from kilter.settings import Settings
from kilter.spec import SPEC_FILE, ModelSpec, load_spec
from kilter.workers import Workers

if TYPE_CHECKING:
    from kilter.stores.features import FeatureStore
    from kilter.stores.ledger import Ledger
    from kilter.stores.objects import ObjectStore
    from kilter.stores.registry import Registry
    from kilter.stores.router import Router
    from kilter.stores.servers import Servers

StoreName = Literal["objects", "ledger", "registry", "features", "online", "router", "servers", "source", "tables"]


@dataclass(frozen=True)
class StepInfo:
    """What a step needs and whether its result may be reused.

    Args:
        stores: the stores it uses; it gets no other, and its container no other mount or network. `source` is the
            model's raw data, opened by the model's own code; `tables` the table that its inputs name; `online` the online store alone, for model servers.
        reads: the sections of the spec that change its result.
        memoised: whether equal inputs give an equal result, without effects elsewhere.
        gpu: whether it runs on the GPUs that the spec asks for.
        together: whether several processes may run it together, one a GPU, where the spec's trainer can.
    """

    stores: frozenset[StoreName] = frozenset({"objects"})
    reads: tuple[str, ...] = ()
    memoised: bool = True
    gpu: bool = False
    together: bool = False


class StepModel(BaseModel):
    """Base of a step's inputs and outputs: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunInfo(StepModel):
    """Who runs the step: goes to the lineage, never into the result's key."""

    dag_id: str = "manual"
    run_id: str = "manual"
    task_id: str = "manual"
    try_number: int = 1
    dag_version: str = ""
    git_commit: str = ""
    image: str = ""


class Stores:
    """The stores of an installation, each opened on first use.

    Args:
        scratch: nothing that is put into `objects` is kept.
    """

    def __init__(self, settings: Settings, spec: ModelSpec, scratch: bool = False) -> None:
        self._settings = settings
        self._spec = spec
        self._scratch = scratch

    @cached_property
    def objects(self) -> ObjectStore:
        from kilter.stores.objects import ScratchObjects, open_objects

        objects = open_objects(self._settings.objects)
        return ScratchObjects(objects) if self._scratch else objects

    @cached_property
    def ledger(self) -> Ledger:
        from kilter.stores.ledger import Ledger

        return Ledger(self._settings.ledger)

    @cached_property
    def registry(self) -> Registry:
        from kilter.stores.registry import MlflowRegistry

        return MlflowRegistry(self._settings.mlflow)

    @cached_property
    def features(self) -> FeatureStore:
        from kilter.stores.features import FeatureStore

        return FeatureStore(self._spec, self.objects, self._settings.feast_registry, self._settings.online_store)

    @cached_property
    def router(self) -> Router:
        from kilter.stores.router import Router

        return Router(self._settings.router)

    @cached_property
    def servers(self) -> Servers:
        from kilter.stores.servers import Servers

        return Servers(self.objects, {"champion": self._settings.champion, "canary": self._settings.canary})


@dataclass(frozen=True)
class StepContext:
    """All that a step may use besides its inputs.

    `stores` opens what the step declared; anything else raises `InputError`, in every runtime.
    """

    spec: ModelSpec
    folder: Path
    """The model's folder, with features.py, source.py and expectations.json."""
    stores: Stores
    info: StepInfo
    run: RunInfo = field(default_factory=RunInfo)
    device: Kind = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kilter"))
    workers: Workers = field(default_factory=Workers)

    @property
    def seed(self) -> int:
        return self.spec.training.seed

    @property
    def objects(self) -> ObjectStore:
        return self.stores.objects

    @property
    def ledger(self) -> Ledger:
        self._declared("ledger")
        return self.stores.ledger

    @property
    def registry(self) -> Registry:
        self._declared("registry")
        return self.stores.registry

    @property
    def features(self) -> FeatureStore:
        self._declared("features")
        return self.stores.features

    @property
    def router(self) -> Router:
        self._declared("router")
        return self.stores.router

    @property
    def servers(self) -> Servers:
        self._declared("servers")
        return self.stores.servers

    def _declared(self, store: StoreName) -> None:
        if store not in self.info.stores:
            raise InputError(
                f"the step uses the store '{store}' but declares only {sorted(self.info.stores)}: "
                "add it to the step's STEP = StepInfo(stores=…)"
            )


class Step(Protocol):
    """The shape of a module in `kilter.steps`."""

    STEP: StepInfo
    Inputs: type[StepModel]
    Outputs: type[StepModel]

    def run(self, inputs: Any, context: StepContext) -> StepModel: ...


class Result(StepModel):
    """A committed result file."""

    step: str
    model: str
    outputs: dict[str, Any]
    run: RunInfo
    device: str
    seconds: float
    started_at: float
    """Unix time at the first line of `run()`."""


def step_names() -> list[str]:
    """Names of all steps, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(kilter.steps.__path__))


def load_step(name: str) -> Step:
    """Import the step's module; `InputError` when there is no such step."""
    if name not in step_names():
        raise InputError(f"no step '{name}'; there are: {', '.join(step_names())}")
    return cast(Step, importlib.import_module(f"kilter.steps.{name}"))


def parse_inputs(name: str, inputs: Mapping[str, Any]) -> StepModel:
    """Check inputs against the step's `Inputs`; `InputError` names the wrong ones."""
    try:
        return load_step(name).Inputs.model_validate(dict(inputs))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})" for item in error.errors()
        )
        raise InputError(f"step '{name}' inputs: {wrong}") from None


def code_digest(folder: Path) -> str:
    """SHA-256 over the code of Kilter and of one model folder (without its model.yaml)."""
    package = Path(kilter.__file__).parent
    files = [(path.relative_to(package), path) for path in package.rglob("*.py")]
    files += [
        (path.relative_to(folder), path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != SPEC_FILE and path.suffix in {".py", ".json"}
    ]
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def result_key(name: str, spec: ModelSpec, inputs: StepModel, code: str, image: str, attempt: str = "") -> str:
    """Key of the step's result in the object store.

    It depends on the step, the code, the image, the inputs and the sections of the spec that the
    step reads. A step that is not memoised gives `attempt`, which makes the key its own.
    """
    content = {
        "step": name,
        "code": code,
        "image": image,
        "inputs": inputs.model_dump(mode="json"),
        "spec": spec.digest("name", "task", *load_step(name).STEP.reads),
        "attempt": attempt,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"results/{spec.name}/{name}/{digest}.json"


def read_result(objects: ObjectStore, key: str) -> Result | None:
    """The committed result under `key`, or None."""
    return Result.model_validate_json(objects.get(key)) if objects.exists(key) else None


def run_step(
    name: str,
    folder: Path,
    inputs: Mapping[str, Any],
    run: RunInfo,
    settings: Settings,
    log: logging.Logger,
    workers: Workers | None = None,
) -> Result:
    """Run one step of one model in this process and return its result, not yet committed.

    Of several processes that run it together only the first one's objects are kept.

    Raises:
        KilterError: the inputs are wrong, a store is away, or a device is missing.
    """
    step = load_step(name)
    spec = load_spec(folder)
    parsed = parse_inputs(name, inputs)
    device = choose_device(spec, step.STEP.gpu, log)
    workers = workers or Workers()
    stores = Stores(settings, spec, scratch=workers.rank > 0)
    context = StepContext(spec, folder, stores, step.STEP, run, device, log, workers)
    started = time.time()
    log.info("step %s of %s starts on %s", name, spec.name, device)
    outputs = step.run(parsed, context)
    seconds = time.time() - started
    log.info("step %s ended after %.1f s", name, seconds)
    return Result(
        step=name,
        model=spec.name,
        # Through JSON's text: only there a number that is none becomes what a reader takes, as `Measured` wants it.
        outputs=json.loads(outputs.model_dump_json()),
        run=run,
        device=device,
        seconds=seconds,
        started_at=started,
    )
