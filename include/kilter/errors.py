"""The exceptions of Kilter.

    KilterError
    ├── InputError          what was given is wrong: a retry cannot cure it
    │   ├── SpecError       a model.yaml says something impossible
    │   ├── DataError       a file is truncated, empty, tampered with or misses a column
    │   ├── DeviceError     a device was asked for and is not there
    │   └── DivergedError   a training's loss became NaN or grew beyond all measure
    └── UnavailableError    something that should answer does not: a retry may cure it

Every message names the owner, the value received, what is allowed and the cure.
"""


class KilterError(Exception):
    """Base of all errors that Kilter raises on purpose.

    `exit_code` is what `python -m kilter` ends with, by which an orchestrator tells
    what is worth a retry.
    """

    exit_code = 1


class InputError(KilterError):
    """Wrong input or configuration. Trying again gives the same error."""

    exit_code = 2


class SpecError(InputError):
    """A `model.yaml` that cannot be accepted; names file, key, value, allowed values and cure."""


class DataError(InputError):
    """Data that cannot be read or trusted."""


class DeviceError(InputError):
    """A device (GPU) was asked for and is absent."""


class DivergedError(InputError):
    """A training that learns nothing; equal input diverges again."""


class UnavailableError(KilterError):
    """A store, registry, router or server did not answer. Trying again may help."""

    exit_code = 75
