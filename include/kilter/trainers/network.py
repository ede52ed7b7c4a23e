"""The network: a residual perceptron over numbers, their quantile bins, masks of what is missing, and embedded categories.

Sources: Gorishniy et al. (2021), Revisiting deep learning models for tabular data, section 3.2 (residual blocks); Gorishniy et
al. (2022), On embeddings for numerical features in tabular deep learning, section 3.2 (quantile bins); Holzmüller et al. (2024), Better
by default: strong pre-tuned MLPs and boosted trees on tabular data, section 3 (robust scale, smooth clipping).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from kilter.encoding import Signature
from kilter.network_parameters import NetworkParameters
from kilter.trainers.normalisation import Normalisation

_CLIP = 3.0
"""Numbers are bent towards so many standard deviations, and never beyond."""
_FAR = 1e6
"""Before that they are cut here, so that no float32 overflows."""
_UNKNOWN_SHARE = 0.01
"""Share of categories that are hidden while learning, so that the embedding of an unknown one is learned."""


class Network(nn.Module):
    """From encoded rows, NaN for missing, to log odds, logarithms of class odds, or a standardised number.

    Rows are rows × features as `kilter.encoding.encode` makes them, outputs rows × classes (1 of two classes or a number).
    """

    def __init__(self, signature: Signature, normalisation: Normalisation, parameters: NetworkParameters) -> None:
        super().__init__()
        self.numbers = Numbers(signature, normalisation)
        self.categories = Categories(signature, normalisation, parameters.embedding)
        self.first = nn.Linear(self.numbers.width + self.categories.width, parameters.width)
        self.blocks = nn.ModuleList([Block(parameters.width, parameters.dropout) for _ in range(parameters.depth)])
        self.norm = nn.LayerNorm(parameters.width)
        self.last = nn.Linear(parameters.width, len(normalisation.prior))
        with torch.no_grad():
            self.last.bias.copy_(torch.as_tensor(normalisation.prior))

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.first(torch.cat([self.numbers(rows), self.categories(rows)], dim=1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return cast(Tensor, self.last(nn.functional.gelu(self.norm(hidden))))


class Block(nn.Module):
    """One residual block."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        wide = self.dropout(nn.functional.gelu(self.wide(self.norm(hidden))))
        return cast(Tensor, self.dropout(self.narrow(wide)))


class Numbers(nn.Module):
    """Numeric features: each as a normalised number, as its share of every quantile bin, and whether it is missing."""

    centre: Tensor
    scale: Tensor
    known: Tensor
    low: Tensor
    wide: Tensor

    def __init__(self, signature: Signature, normalisation: Normalisation) -> None:
        super().__init__()
        self.places = [place for place, feature in enumerate(signature.features) if not feature.categories]
        low, wide = normalisation.edges[:, :-1], np.diff(normalisation.edges, axis=1)
        constants = {
            "centre": normalisation.centre,
            "scale": normalisation.scale,
            "known": normalisation.known,
            "low": low,
            # A bin of one value becomes a step just above it.
            "wide": np.maximum(wide, 1e-6 * normalisation.scale[:, None]),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))
        self.width = len(self.places) * (2 + low.shape[1])

    def forward(self, rows: Tensor) -> Tensor:
        if not self.places:
            return rows[:, :0]
        values = rows[:, self.places]
        missing = torch.isnan(values)
        values = torch.where(missing, self.centre, values)
        places = torch.clamp((values - self.centre) / self.scale, -_FAR, _FAR)
        places = places / torch.sqrt(1 + (places / _CLIP) ** 2)
        bins = torch.clamp((values[:, :, None] - self.low) / self.wide, 0, 1) * (~missing)[:, :, None]
        known = self.known[:, None]
        return torch.cat(
            [places * self.known, missing * self.known, (bins * known).flatten(start_dim=1)],
            dim=1,
        )


class Categories(nn.Module):
    """Categorical features, each embedded. Place 0 of an embedding is for the missing and for what no train row had."""

    index: Tensor

    def __init__(self, signature: Signature, normalisation: Normalisation, most: int) -> None:
        super().__init__()
        self.places = [place for place, _ in signature.coded]
        counts = [1 + len(seen) for seen in normalisation.seen]
        index = np.zeros((len(counts), max(counts, default=0)), dtype=np.int64)
        for row, seen in zip(index, normalisation.seen, strict=True):
            row[1 : 1 + len(seen)] = np.where(seen, np.arange(1, 1 + len(seen)), 0)
        self.register_buffer("index", torch.as_tensor(index))
        self.embeddings = nn.ModuleList([nn.Embedding(count, min(most, count)) for count in counts])
        self.width = sum(min(most, count) for count in counts)

    def forward(self, rows: Tensor) -> Tensor:
        codes = rows[:, self.places]
        codes = torch.where(torch.isnan(codes), -1.0, codes).long() + 1
        if self.training:
            codes = codes * (torch.rand(codes.shape, device=codes.device) >= _UNKNOWN_SHARE)
        parts = [embedding(self.index[place][codes[:, place]]) for place, embedding in enumerate(self.embeddings)]
        return torch.cat([rows[:, :0], *parts], dim=1)


class Scorer(nn.Module):
    """What is served: the network's outputs as scores of the signature's task, one vector or rows × classes."""

    centre: Tensor
    scale: Tensor

    def __init__(self, network: Network, signature: Signature, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.task = signature.task
        # In float32, as the graph computes, and in the weights' file: without them a number could not be told from it.
        self.register_buffer("centre", torch.tensor(normalisation.label_centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(normalisation.label_scale, dtype=torch.float32))

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.network(rows)
        if self.task == "multiclass":
            return torch.softmax(outputs, dim=1)
        if self.task == "binary":
            return torch.sigmoid(outputs[:, 0])
        return outputs[:, 0] * self.scale + self.centre
