"""One training of a network, epoch by epoch: what it has learned, and how it goes on after a kill."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kilter.errors import DivergedError
from kilter.network_parameters import NetworkParameters
from kilter.trainers import Part, Rows, TrainingRun
from kilter.trainers.checkpoints import Checkpoint
from kilter.trainers.network import Network, Scorer
from kilter.trainers.normalisation import Normalisation
from kilter.trainers.windows import held, most_rows, shuffled

_WARM_UP = 0.05
"""Share of all steps in which the learning rate rises."""
_GREATEST_GRADIENT = 1.0
_SCORED_ROWS = 16_384
"""Rows of the validation part that are scored at once."""
_LOOKED_AT = 64
"""Batches whose losses are looked at together: each look waits for a GPU."""
_DIVERGED = 100
"""A mean loss so many times that of answering without any training is no transient of the first steps."""


class Fit:
    """A network while it learns.

    What an epoch does depends on the seed, the epoch and the state before it alone: a checkpoint needs no generator's state.

    Args:
        train: rows to learn from; of all processes the same.
        validation: rows that tell when to stop.
    """

    def __init__(
        self,
        train: Rows,
        validation: Rows,
        normalisation: Normalisation,
        parameters: NetworkParameters,
        run: TrainingRun,
    ) -> None:
        self.epoch = 0
        """The next one."""
        self.losses: list[float] = []
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}
        self._run = run
        self._seed = run.training.seed
        self._batch_rows = parameters.batch_rows
        self._normalisation = normalisation
        features = len(run.signature.names)
        self._most = most_rows(features)
        self._train, self._validation = held(train, features), held(validation, features)
        self._steps = math.ceil(len(train) / self._batch_rows)
        self._device = torch.device("cuda", run.workers.local_rank) if run.device == "cuda" else torch.device("cpu")
        self._sow(0)
        self.network = Network(run.signature, normalisation, parameters).to(self._device)
        self._learner = _shared(self.network, run)
        self._prior = torch.as_tensor(normalisation.prior, dtype=torch.float32, device=self._device)
        self._optimizer = _optimizer(self.network, parameters)
        self._rate = parameters.learning_rate

    def learn(self) -> float:
        """One epoch over the train part; returns its mean loss.

        Raises:
            DivergedError: a batch's loss is NaN or infinite, or that of the epoch so far is far above the prior's.
        """
        self._sow(self.epoch + 1)
        self._learner.train()
        # Of the rows so far: the network's, and that of answering without any training.
        totals = torch.zeros(2, device=self._device, dtype=torch.float64)
        rows_so_far = 0
        watched: list[Tensor] = []
        for batch, (rows, labels) in enumerate(self._batches()):
            watched.append(self._step(self.epoch * self._steps + batch, rows, labels))
            totals += torch.stack([watched[-1], self._losses(self._prior.expand(len(labels), -1), labels).sum()])
            rows_so_far += len(labels)
            if len(watched) == _LOOKED_AT or batch == self._steps - 1:
                self._check(watched, totals / max(1, rows_so_far), batch)
                watched.clear()
        return self._reported(self._summed(totals[0]) / len(self._train))

    def measure(self) -> float:
        """Close the epoch: the loss of the validation part, after which the network may be the best one so far.

        Raises:
            DivergedError: it is no number.
        """
        loss = self._reported(self._summed(self._validation_sum()) / len(self._validation))
        if not math.isfinite(loss):
            raise self._diverged(loss, self._normalisation.guess, "of the validation part after batch", self._steps - 1)
        if not self.losses or loss < min(self.losses):
            self.best_epoch = self.epoch
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.losses.append(loss)
        self.epoch += 1
        return loss

    def scorer(self) -> Scorer:
        """The best network, on the CPU, as it is served."""
        self.network.load_state_dict(self.best)
        return Scorer(self.network.cpu(), self._run.signature, self._normalisation).eval()

    def checkpoint(self) -> Checkpoint:
        """All that the next epochs depend on, as it is now."""
        optimizer = self._optimizer.state_dict()["state"]
        tensors = {
            **{f"network.{name}": value for name, value in self.network.state_dict().items()},
            **{f"best.{name}": value for name, value in self.best.items()},
            **{f"optimizer.{place}.{name}": value for place, kept in optimizer.items() for name, value in kept.items()},
        }
        facts = {"epoch": self.epoch, "best_epoch": self.best_epoch, "losses": list(self.losses)}
        # Copies: the next epoch changes the tensors themselves.
        return Checkpoint({name: np.array(value.cpu()) for name, value in tensors.items()}, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        tensors: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
        for key, value in checkpoint.tensors.items():
            part, _, name = key.partition(".")
            tensors[part][name] = torch.from_numpy(value.copy())
        self.network.load_state_dict(tensors["network"])
        self.best = {name: value.to(self._device) for name, value in tensors["best"].items()}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, kept in tensors["optimizer"].items():
            place, _, name = key.partition(".")
            optimizer.setdefault(int(place), {})[name] = kept
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": optimizer})
        self.epoch, self.best_epoch = checkpoint.facts["epoch"], checkpoint.facts["best_epoch"]
        self.losses = list(checkpoint.facts["losses"])

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of each batch."""
        random = np.random.default_rng([self._seed, self.epoch])
        share = slice(self._run.workers.rank, None, self._run.workers.count)
        for window in shuffled(self._train, self._batch_rows, self._most, random):
            rows, labels = self._tensors(window)
            for start in range(0, len(window), self._batch_rows):
                stop = start + self._batch_rows
                yield rows[start:stop][share], labels[start:stop][share]

    def _step(self, step: int, rows: Tensor, labels: Tensor) -> Tensor:
        """One step of the optimiser; returns the sum of the rows' losses."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * _schedule(step, self._steps * self._run.training.rounds)
        self._optimizer.zero_grad()
        losses = self._losses(self._outputs(self._learner, rows), labels)
        # Gradients of several processes are averaged, which makes this their share of one batch's mean.
        torch.autograd.backward(losses.sum() * self._run.workers.count / self._rows_of(step))
        nn.utils.clip_grad_norm_(self.network.parameters(), _GREATEST_GRADIENT)
        self._optimizer.step()
        return losses.detach().sum()

    def _rows_of(self, step: int) -> int:
        """Rows of the batch of a step, in all processes: the last one of an epoch may be short."""
        return min(self._batch_rows, len(self._train) - step % self._steps * self._batch_rows)

    def _validation_sum(self) -> Tensor:
        self._learner.eval()
        workers = self._run.workers
        total = torch.zeros((), device=self._device, dtype=torch.float64)
        with torch.no_grad():
            for piece in self._validation.pieces():
                rows, labels = self._tensors(piece)
                for start in range(workers.rank * _SCORED_ROWS, len(piece), workers.count * _SCORED_ROWS):
                    stop = start + _SCORED_ROWS
                    total += self._losses(self._outputs(self.network, rows[start:stop]), labels[start:stop]).sum()
        return total

    def _outputs(self, network: nn.Module, rows: Tensor) -> Tensor:
        """In float32, whatever the network computed in."""
        mixed = self._device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            outputs: Tensor = network(rows)
        return outputs.float()

    def _losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Of each row."""
        if self._run.signature.task == "multiclass":
            return nn.functional.cross_entropy(outputs, labels.long(), reduction="none")
        outputs = outputs[:, 0]
        if self._run.loss == "log_loss":
            return nn.functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
        loss = nn.functional.l1_loss if self._run.loss == "mae" else nn.functional.mse_loss
        return loss(outputs, labels, reduction="none")

    def _tensors(self, part: Part) -> tuple[Tensor, Tensor]:
        labels = (part.labels - self._normalisation.label_centre) / self._normalisation.label_scale
        return (
            torch.from_numpy(part.rows).to(self._device),
            torch.from_numpy(labels.astype(np.float32)).to(self._device),
        )

    def _check(self, sums: list[Tensor], means: Tensor, last: int) -> None:
        """Refuse losses that no training recovers from: no number in a batch, or too much in the epoch so far.

        An outlier or a row of a rare class makes the loss of its batch as high as it likes. So all rows so far are compared
        with what these very rows cost without any training.

        Args:
            sums: of the batches since the last look.
            means: losses of the epoch's rows so far, the network's and without training.
            last: the last one of the batches.
        """
        guess = self._normalisation.guess
        for batch, loss in enumerate(torch.stack(sums).tolist(), last - len(sums) + 1):
            if not math.isfinite(loss):
                raise self._diverged(loss, guess, "in batch", batch)
        loss, untrained = (self._reported(mean) for mean in means.tolist())
        # However rare a class is: being as unsure as a coin is no divergence.
        least = math.log(2) if self._run.loss == "log_loss" else guess
        if loss > _DIVERGED * max(untrained, least):
            raise self._diverged(loss, untrained, "on average up to batch", last)

    def _diverged(self, loss: float, untrained: float, where: str, batch: int) -> DivergedError:
        return DivergedError(
            f"the loss is {loss:.4g} {where} {batch} of epoch {self.epoch}, and {untrained:.4g} without any training: lower "
            f"training.parameters.learning_rate, now {self._rate:g}, or look for labels and features beyond all measure"
        )

    def _reported(self, loss: float) -> float:
        """A mean loss in the label's unit."""
        if self._run.loss == "log_loss":
            return loss
        return self._normalisation.label_scale * (loss if self._run.loss == "mae" else math.sqrt(loss))

    def _summed(self, total: Tensor) -> float:
        """Over all processes."""
        if self._run.workers.count > 1:
            torch.distributed.all_reduce(total)
        return float(total)

    def _sow(self, epoch: int) -> None:
        """Seed what torch draws: the first weights at 0, then each epoch's dropout, of each process its own."""
        seeds = [self._seed, epoch, self._run.workers.rank if epoch else 0]
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))


def _shared(network: Network, run: TrainingRun) -> nn.Module:
    """The network as it learns: with several processes one that averages their gradients."""
    if run.workers.count == 1:
        return network
    return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)


def _optimizer(network: Network, parameters: NetworkParameters) -> torch.optim.Optimizer:
    """Weights decay; biases, norms and embeddings' own scale do not."""
    decayed: list[Any] = [value for value in network.parameters() if value.ndim > 1]
    others: list[Any] = [value for value in network.parameters() if value.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": parameters.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=parameters.learning_rate)


def _schedule(step: int, steps: int) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017, section 3)."""
    warm = max(1.0, _WARM_UP * steps)
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
