"""`python -m kilter`: run a step, serve models, check a model folder, drive the demo, show lineage, export models."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.backtest.command import add_options
from kilter.demo import MODELS as DEMO_MODELS
from kilter.errors import InputError, KilterError
from kilter.settings import Settings

if TYPE_CHECKING:
    from kilter.serving.prediction_log import AnswerLog
    from kilter.spec import ModelSpec
    from kilter.stores.deployment import Role
    from kilter.stores.objects import ObjectStore
    from kilter.stores.registry import Registry


def main(arguments: list[str] | None = None) -> int:
    """Entry of the command; returns the exit code: 0 fine, 1 fault, 2 wrong input, 75 try again."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    # Libraries tell of their inner life at INFO: hundreds of lines in a task's log.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("kilter").setLevel(logging.INFO)
    try:
        settings = Settings.from_environment(os.environ)
        result: int | None = options.run(options, settings)
    except KilterError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return result or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kilter",
        description="Keep production models in kilter.",
        epilog="Exit codes: 0 fine, 1 fault, 2 wrong input (a retry cannot cure it), 75 something did not answer (a retry may).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    step = _command(
        commands,
        "step",
        _step,
        "run one step of one model",
        'kilter step extract --model flight_delay --inputs \'{"start": "2013-01-01T00:00:00Z", "end": "2013-02-01T00:00:00Z"}\'',
    )
    step.add_argument("name", help="the step: a file in include/kilter/steps")
    step.add_argument("--model", required=True, help="the model: a folder in include/models")
    step.add_argument("--inputs", default="{}", help="the step's inputs as JSON")
    step.add_argument("--run-info", default="{}", help="who runs it, as JSON, for the lineage")
    step.add_argument("--result", help="key in the object store to commit the result under")
    step.add_argument("--code", help="refuse to run unless code and model.yaml have these digests (code:spec)")

    check = _command(commands, "check", _check, "check model folders", "kilter check flight_delay")
    check.add_argument("models", nargs="*", help="names of models; default all")

    demo = _command(commands, "demo", _demo, "the whole loop on a year of flights", "kilter demo up --until 2013-06")
    demo.add_argument("action", choices=["up", "down"], help="start and drive it, or stop what was started")
    demo.add_argument(
        "--model",
        choices=DEMO_MODELS,
        default=DEMO_MODELS[0],
        help="flight_delay: late or not, by XGBoost (default); arrival_delay: minutes late, by PyTorch",
    )
    demo.add_argument("--until", type=_month, default="2013-08", help="first month not lived through (default 2013-08)")
    demo.add_argument("--runtime", choices=["auto", "docker", "process"], default="auto", help="where steps run")
    demo.add_argument(
        "--airflow-port", type=int, default=8080, help="port of Airflow's UI; other ports: KILTER_… variables"
    )

    backtest = _command(
        commands,
        "backtest",
        _backtest,
        "replay policies on recorded history, or on any Parquet file with a column of time",
        "kilter backtest flight_delay --policy eager.yaml; kilter backtest --data stream.parquet --label y --time t",
    )
    add_options(backtest)

    lineage = _command(commands, "lineage", _lineage, "trace a model version as JSON", "kilter lineage flight_delay 2")
    lineage.add_argument("model", help="the model: a folder in include/models")
    lineage.add_argument("version", type=int, nargs="?", help="default the champion")

    export = _command(
        commands,
        "export",
        _export,
        "write a model into a folder that scores rows by itself",
        "kilter export flight_delay --to flight_delay_model",
    )
    export.add_argument("model", help="the model: a folder in include/models")
    export.add_argument("--version", type=int, help="default the champion")
    export.add_argument("--to", required=True, type=Path, metavar="DIR", help="a folder that is absent or empty")

    rollout = _command(
        commands,
        "rollout",
        _rollout,
        "see a model's rollout, hold it, let it go on, end it, or bring the predecessor back",
        "kilter rollout abort flight_delay --reason 'complaints from Newark'",
    )
    rollout.add_argument(
        "action",
        choices=["status", "hold", "resume", "abort", "rollback"],
        help="hold: all traffic to the champion, the candidate stays; resume: go on where it was held; abort: end the "
        "rollout under way; rollback: the champion's predecessor takes over again",
    )
    rollout.add_argument("model", help="the model: a folder in include/models")
    rollout.add_argument("--version", type=int, help="rollback: the version that shall go; default the champion")
    rollout.add_argument("--reason", default="", help="kept in the ledger, with the user's name")

    _command(commands, "migrate", _migrate, "make or upgrade the ledger's tables", "kilter migrate")

    serve = _command(
        commands, "serve", _serve, "serve the models of one role", "kilter serve --role champion --port 8901"
    )
    serve.add_argument("--role", required=True, choices=("champion", "canary"), help="which desired state it follows")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; default %(default)s")
    serve.add_argument("--port", type=int, required=True, help="port to listen on")
    serve.add_argument(
        "--hold",
        metavar="MODEL:VERSION:DIGEST",
        help="hold this version alone, for a trial; what is logged is not kept",
    )

    haproxy = _command(
        commands,
        "haproxy-config",
        _haproxy_config,
        "print HAProxy's configuration",
        "kilter haproxy-config > haproxy.cfg",
    )
    haproxy.add_argument("--listen", help="address to bind to; default the one that clients use")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: object, text: str, example: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".", epilog=f"Example: {example}")
    parser.set_defaults(run=run)
    return parser


def _in_utc() -> None:
    """Make this process's clock UTC: in SQLite Feast writes and reads times as the clock of each process shows them."""
    os.environ["TZ"] = "UTC"
    time.tzset()


def _step(options: argparse.Namespace, settings: Settings) -> int:
    from kilter.spec import load_spec
    from kilter.step import RunInfo, code_digest, load_step, run_step
    from kilter.stores.objects import open_objects
    from kilter.workers import Workers, die_with_parent

    _in_utc()
    # Other steps may find a surrounding launcher's variables, which are not meant for them.
    workers = Workers.of(os.environ) if load_step(options.name).STEP.together else Workers()
    if workers.count > 1:
        die_with_parent()
    log = logging.getLogger("kilter")
    if workers.rank:
        log.setLevel(logging.WARNING)
    # Process 1 of a container has no default action for SIGTERM: without a handler only SIGKILL ends it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = settings.models / options.model
    if options.code:
        found = f"{code_digest(folder)}:{load_spec(folder).digest()}"
        if found != options.code:
            raise InputError(
                f"the step image holds other code or another model.yaml for '{options.model}' than Airflow "
                f"(digests {found} here, {options.code} asked for): rebuild it with 'make images'"
            )
    if workers.count == 1 and (count := _processes(options.name, load_spec(folder))) > 1:
        from kilter.torchrun import launch

        return launch(options.arguments, count)
    result = run_step(
        options.name,
        folder,
        _json("--inputs", options.inputs),
        RunInfo.model_validate(_json("--run-info", options.run_info)),
        settings,
        log,
        workers,
    )
    if workers.rank:
        return 0
    if options.result:
        open_objects(settings.objects).put(options.result, result.model_dump_json(indent=1).encode())
    else:
        print(result.model_dump_json(indent=1))
    return 0


def _processes(step: str, spec: ModelSpec) -> int:
    """How many processes run a step: one for each GPU where it can be shared, else one."""
    from kilter.devices import visible_gpus
    from kilter.step import load_step

    if not load_step(step).STEP.together or spec.training.trainer != "torch" or spec.resources.gpu < 2:
        return 1
    return max(1, min(spec.resources.gpu, len(visible_gpus())))


def _json(option: str, text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f'{option}: not JSON: {error}: quote it as \'{{"key": "value"}}\'') from None
    if not isinstance(value, dict):
        raise InputError(f"{option}: expected a JSON object, got {type(value).__name__}")
    return value


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from kilter.expectations import load_expectations
    from kilter.spec import load_spec, model_folders

    folders = [settings.models / name for name in options.models] or model_folders(settings.models)
    if not folders:
        raise InputError(f"no model folders in {settings.models}: set KILTER_MODELS, or add a folder with a model.yaml")
    wrong = 0
    for folder in folders:
        try:
            spec = load_spec(folder)
            load_expectations(folder, spec)
        except KilterError as error:
            wrong += 1
            print(error, file=sys.stderr)
        else:
            print(f"{folder.name}: fine ({len(spec.features.columns)} features, digest {spec.digest()[:12]})")
    return 2 if wrong else 0


def _month(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)


def _demo(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.demo import command

    if options.action == "down":
        command.down(settings)
    else:
        command.up(command.Options(options.model, options.until, options.runtime, options.airflow_port), settings)


def _backtest(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.backtest import command

    command.run(options, settings)


def _lineage(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.lineage import trace
    from kilter.stores.ledger import Ledger
    from kilter.stores.registry import MlflowRegistry

    registry = MlflowRegistry(settings.mlflow)
    version = _version(options, registry)
    print(json.dumps(trace(options.model, version, registry, Ledger(settings.ledger)), indent=1))


def _version(options: argparse.Namespace, registry: Registry) -> int:
    """The version that was named, or else the champion."""
    version: int | None = registry.champion(options.model) if options.version is None else options.version
    if version is None:
        raise InputError(
            f"model '{options.model}' has no champion: name a version, or run {options.model}.continuous_training"
        )
    return version


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.export.content import Export
    from kilter.export.folder import write_folder
    from kilter.spec import load_spec
    from kilter.stores.objects import open_objects
    from kilter.stores.registry import MlflowRegistry

    spec, registry = load_spec(settings.models / options.model), MlflowRegistry(settings.mlflow)
    version = registry.version(spec.name, _version(options, registry))
    tags = registry.tags(spec.name, version.version)
    files = Export(spec, version, tags, open_objects(settings.objects)).files()
    written = write_folder(options.to, files)
    print(
        f"{spec.name} version {version.version} {'is' if written else 'was already'} in {options.to}: {', '.join(files)}"
    )


def _rollout(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.spec import load_spec
    from kilter.step import StepContext, Stores
    from kilter.steps import control_rollout

    folder = settings.models / options.model
    spec = load_spec(folder)
    context = StepContext(spec, folder, Stores(settings, spec), control_rollout.STEP)
    if options.action == "status":
        from kilter.rollout_status import show

        show(context)
        return
    reason = f"{options.reason or 'no reason given'} ({_person()})"
    inputs = control_rollout.Inputs(action=options.action, reason=reason, version=options.version)
    outputs = control_rollout.run(inputs, context)
    print(f"rollout {outputs.rollout} of {options.model} version {outputs.version}: {outputs.state}")


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container that runs as a user whom it does not know
        return f"uid {os.getuid()}"


def _migrate(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.stores.ledger import Ledger

    Ledger(settings.ledger).migrate()
    print(f"ledger {settings.ledger.rpartition('@')[2]} is up to date")


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.serving.lookup import looks_up
    from kilter.serving.models import LiveModels
    from kilter.serving.server import ModelServer, serve
    from kilter.spec import model_folders
    from kilter.stores.objects import open_objects
    from kilter.stores.online import FeastOnline

    _in_utc()
    log = logging.getLogger("kilter")
    objects: ObjectStore = open_objects(settings.objects)
    if options.hold:
        objects = _holding(objects, options.role, options.hold)
    look_up = looks_up(
        settings.models,
        lambda spec: FeastOnline(spec, settings.online_store, spec.looked_up, spec.serving.timeout),
        log,
    )
    models = LiveModels(
        objects, options.role, lambda: [folder.name for folder in model_folders(settings.models)], log, look_up
    )
    answers = _answer_log(objects, options, settings, log)
    serve(ModelServer(models, answers), options.host, options.port, log)


def _answer_log(
    objects: ObjectStore, options: argparse.Namespace, settings: Settings, log: logging.Logger
) -> AnswerLog:
    """The prediction log of a server, none for a trial; UnavailableError where another server has its spool."""
    from kilter.serving.prediction_log import SPOOL_BYTES, NoLog, PredictionLog
    from kilter.serving.spool import Spool

    if options.hold:
        return NoLog()
    spool = Spool(settings.spool / options.role, SPOOL_BYTES, settings.log_seconds)
    try:
        spool.take()
    except OSError as error:
        # A disk that is full keeps no server from answering; it is tried again.
        log.error("%s: prediction log: spool %s: %s", options.role, spool.folder, error)
    return PredictionLog(spool, objects, options.role, log)


def _holding(objects: ObjectStore, role: Role, held: str) -> ObjectStore:
    """The store as a trial server sees it: with one version to hold, and nothing that it writes is kept."""
    from kilter.stores.deployment import Deployment, write_deployment
    from kilter.stores.objects import ScratchObjects

    match held.split(":"):
        case [model, version, digest] if version.isdigit():
            scratch = ScratchObjects(objects)
            deployment = Deployment(model=model, version=int(version), key=f"models/{model}/{digest}", digest=digest)
            write_deployment(scratch, role, model, deployment)
            return scratch
        case _:
            raise InputError(f"--hold '{held}': expected MODEL:VERSION:DIGEST, such as flight_delay:3:9f86d0…")


def _haproxy_config(options: argparse.Namespace, settings: Settings) -> None:
    from kilter.serving.haproxy import render
    from kilter.spec import load_spec, model_folders

    specs = [load_spec(folder) for folder in model_folders(settings.models)]
    print(render(settings, specs, options.listen), end="")


if __name__ == "__main__":
    status = main()
    # Nothing is left to do, and taking libraries such as Evidently apart would take up to a second of every step.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
