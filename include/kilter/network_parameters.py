"""`training.parameters` of the torch trainer: parsed where model.yaml is read, and again where a step overrides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict, ValidationError

Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), AllowInfNan(False)]


class NetworkParameters(BaseModel):
    """Architecture and optimiser of the network. The defaults suit tens of thousands of rows and some dozens of features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[Whole, Field(ge=1, le=8192, description="numbers that a row is between two blocks")] = 128
    depth: Annotated[Whole, Field(ge=1, le=32, description="residual blocks")] = 2
    dropout: Annotated[Real, Field(ge=0, lt=1)] = 0.1
    embedding: Annotated[Whole, Field(ge=1, le=512, description="numbers that a category becomes")] = 8
    bins: Annotated[Whole, Field(ge=1, le=256, description="quantile bins that a number is encoded by")] = 16
    batch_rows: Annotated[
        Whole, Field(ge=1, le=1_000_000, description="rows of an optimiser's step, on all devices")
    ] = 512
    learning_rate: Annotated[Real, Field(gt=0, le=10, description="the greatest, after the warm-up")] = 1e-3
    weight_decay: Annotated[Real, Field(ge=0, le=10)] = 1e-2
    deterministic: Annotated[
        bool, Strict(), Field(description="on CUDA: only algorithms that give equal bytes; on a CPU they always are")
    ] = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> NetworkParameters:
        """Check what `training.parameters` says.

        Raises:
            ValueError: an unknown key, or a value of the wrong type or range; the message names each and what is allowed.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            wrong = "; ".join(_sentence(item) for item in error.errors())
            raise ValueError(f"parameters of trainer torch: {wrong}") from None


def _sentence(item: Any) -> str:
    key = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        return f"there is no '{key}' (got {item['input']!r}); allowed are {', '.join(NetworkParameters.model_fields)}"
    return f"{key}: {item['msg']} (got {item['input']!r})"
