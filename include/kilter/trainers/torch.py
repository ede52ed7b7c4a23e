"""A residual network by PyTorch, stored as an ONNX graph, which is served, and as safetensors.

Torch is imported where a network is trained alone: evaluating one takes onnxruntime.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from kilter.encoding import Matrix
from kilter.errors import DataError, InputError
from kilter.network_parameters import NetworkParameters
from kilter.onnx_graph import OnnxGraph
from kilter.trainers import Rows, Scores, Trained, TrainingRun, evenly
from kilter.trainers.checkpoints import facts_of, to_safetensors

if TYPE_CHECKING:
    from kilter.trainers.fit import Fit

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
CHECKPOINT_SECONDS = 3.0
"""A training is kept no more often: a kill costs so many seconds, and an epoch."""
PROGRESS_SECONDS = 2.0
_THREADS = 1
"""Fixed, as it decides the order of sums; over batches of some hundred rows several wait for each other longer than they work."""
_SAMPLE_ROWS = 2_000
"""Rows of the validation part by which the graph is compared with the network, and features are permuted."""
_SCORED_ROWS = 32_768
"""Rows that are scored at once, which bounds the memory that takes."""


def train(train: Rows, validation: Rows, run: TrainingRun) -> Trained:
    """Learn for `rounds` epochs at most, until `early_stopping` epochs bring no gain on the validation part.

    The learning rate falls to 0 at the last of `rounds` epochs. A training whose checkpoint is found goes on from it, and
    ends with the bytes that it would have ended with. What does not fit into memory is read again in every epoch.

    Raises:
        InputError: `training.parameters` has an unknown key or a wrong value.
        DataError: a checkpoint is another training's; or the graph gives other scores than the network.
        DivergedError: the loss became NaN or grew beyond all measure.
    """
    from kilter.trainers.fit import Fit
    from kilter.trainers.normalisation import Normalisation

    parameters = _parameters(run)
    with _machine(parameters, run):
        normalisation = Normalisation.of(train, run.signature, run.loss, parameters.bins)
        fit = Fit(train, validation, normalisation, parameters, run)
        if (found := run.checkpoints.load()) is not None:
            fit.restore(found)
            run.log.info("resumed at epoch %d from a checkpoint of this very training", fit.epoch)
        _learn(fit, len(train), run)
        return _trained(fit, validation, parameters, run)


def load(files: Mapping[str, bytes]) -> Network:
    """Load the graph, as the model server does.

    Raises:
        DataError: a file is not there, or is no such file.
    """
    for name in (ONNX_FILE, WEIGHTS_FILE):
        if name not in files:
            raise DataError(f"no file '{name}' among {', '.join(sorted(files))}: train the model again")
    importance = facts_of(files[WEIGHTS_FILE], WEIGHTS_FILE).get("importance", {})
    return Network(OnnxGraph(files[ONNX_FILE], ONNX_FILE, _THREADS), importance)


class Network:
    """A loaded graph, and what was measured of it when it was trained."""

    def __init__(self, graph: OnnxGraph, importance: dict[str, float]) -> None:
        self._graph = graph
        self._importance = importance

    def predict(self, rows: Matrix) -> Scores:
        """As `kilter.trainers.Predictor` describes."""
        parts = [rows[first : first + _SCORED_ROWS] for first in range(0, max(1, len(rows)), _SCORED_ROWS)]
        return np.concatenate([self._graph.scores(part) for part in parts]).astype(np.float64)

    def importance(self) -> dict[str, float]:
        """Share of each feature in the loss that permuting it brings: `kilter.trainers.permutation`."""
        return self._importance


def _parameters(run: TrainingRun) -> NetworkParameters:
    try:
        return NetworkParameters.parse(run.training.parameters)
    except ValueError as error:
        raise InputError(f"training.{error}") from None


@contextmanager
def _machine(parameters: NetworkParameters, run: TrainingRun) -> Iterator[None]:
    """Torch as the training needs it: its threads, its algorithms, and the other processes that train with this one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    exactly = parameters.deterministic and run.device == "cuda"
    if exactly:
        # cuBLAS reads it when it is first used: its sums then have one order.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(exactly)
    if run.workers.count > 1:
        torch.distributed.init_process_group("nccl" if run.device == "cuda" else "gloo")
    try:
        yield
    finally:
        if run.workers.count > 1:
            torch.distributed.destroy_process_group()
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


def _learn(fit: Fit, rows: int, run: TrainingRun) -> None:
    """Epoch after epoch, to the end."""
    rounds, patience = run.training.rounds, run.training.early_stopping
    kept = shown = time.monotonic()
    first = fit.epoch
    while fit.epoch < rounds and fit.epoch - fit.best_epoch <= patience:
        began = time.monotonic()
        learned, loss = fit.learn(), fit.measure()
        now = time.monotonic()
        over = fit.epoch == rounds or fit.epoch - fit.best_epoch > patience
        if over or fit.epoch == first + 1 or now - shown >= PROGRESS_SECONDS:
            shown = now
            run.log.info(
                "epoch %d: %s %.5f, validation %.5f, best %.5f in epoch %d; %d rows/s, at most %.0f s to go",
                *(fit.epoch - 1, run.loss, learned, loss, fit.losses[fit.best_epoch], fit.best_epoch),
                *(rows / (now - began), (rounds - fit.epoch) * (now - began)),
            )
        run.on_round(fit.epoch - 1, loss)
        if not over and now - kept >= CHECKPOINT_SECONDS:
            run.checkpoints.save(fit.checkpoint())
            kept = time.monotonic()


def _trained(fit: Fit, validation: Rows, parameters: NetworkParameters, run: TrainingRun) -> Trained:
    """The best network as files, once its graph was seen to score as it does."""
    from kilter.trainers.graph import check_parity, to_onnx
    from kilter.trainers.permutation import importance

    scorer = fit.scorer()
    graph = to_onnx(scorer, len(run.signature.names))
    sample = evenly(validation, _SAMPLE_ROWS)
    network = Network(OnnxGraph(graph, ONNX_FILE, _THREADS), {})
    check_parity(scorer, network.predict(sample.rows), sample.rows, ONNX_FILE)
    facts = {
        "parameters": parameters.model_dump(),
        "importance": importance(network.predict, sample, run.loss, run.signature, run.training.seed),
    }
    weights = {name: value.numpy() for name, value in scorer.state_dict().items()}
    files = {ONNX_FILE: graph, WEIGHTS_FILE: to_safetensors(weights, facts)}
    return Trained(files, fit.best_epoch + 1, tuple(fit.losses))
