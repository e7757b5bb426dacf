"""The errors raised on purpose, each with the exit code the command line ends with."""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_VARIANTS_FAILED = 3
EXIT_GATE = 4


class PrunebenchError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = EXIT_FAILED

    def __reduce__(self) -> tuple[Any, ...]:
        # An error crosses processes with what it knows; its arguments alone are one sentence.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InputError(PrunebenchError):
    """Bad input, told as one sentence: what is wrong, where, and what to do.

    Args:
        what: What is wrong, without a full stop ("class id 9 is out of range 0..6").
        where: The file, key or option it was found in, or ``None``.
        fix: What to do, as an imperative ("use ids 0 to 6"), or ``None``.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(
        self, what: str, *, where: str | Path | None = None, fix: str | None = None
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        sentence = what if self.where is None else f"{self.where}: {what}"
        super().__init__(f"{sentence}; {fix}." if fix else f"{sentence}.")


class ConfigError(InputError):
    """A configuration value, key or combination that cannot be used."""


class CheckpointError(InputError):
    """A model file that is missing, unreadable or of the wrong kind."""


class DatasetError(InputError):
    """A dataset that is missing, malformed or disagrees with the model."""


class TableError(InputError):
    """A CSV of measurements that lacks columns or holds impossible values."""


class OutputError(InputError):
    """An output folder that is read-only, full or in use by another run."""


class EnvironmentMismatch(InputError):
    """An installed library lies outside the range this package was tested with."""


class StepError(PrunebenchError):
    """A step ("export") of one variant failed, with the reason in one sentence."""

    def __init__(self, step: str, reason: str, *, variant: str | None = None) -> None:
        self.step = step
        self.reason = reason
        self.variant = variant
        subject = step if variant is None else f"{variant}: {step}"
        super().__init__(f"{subject} failed: {reason}")


class ChildFailed(StepError):
    """The child process of a step ended without writing a result.

    ``returncode`` is as ``subprocess`` gives it (negative: a signal), ``output_tail`` the last
    lines the process printed.
    """

    def __init__(
        self,
        step: str,
        reason: str,
        *,
        returncode: int | None = None,
        output_tail: str = "",
        variant: str | None = None,
    ) -> None:
        self.returncode = returncode
        self.output_tail = output_tail
        super().__init__(step, reason, variant=variant)


class ParityError(StepError):
    """The exported file's outputs differ from the checkpoint's beyond the tolerance."""


class StoreError(StepError):
    """A file of the store is missing, or not what its name says."""


class StructureChanged(StepError):
    """A training that has to keep the structure changed it."""


class RegressionFound(PrunebenchError):
    """A confirmed regression, or a gate that did not hold."""

    exit_code = EXIT_GATE


def values_of(error: PrunebenchError) -> dict[str, Any]:
    """An error as plain values that another process can raise it from."""
    # Another package may have kinds of its own.
    ours = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == __name__)
    return {"error": next(ours), "arguments": error.args, "known": vars(error)}


def error_of(values: Mapping[str, Any]) -> PrunebenchError:
    """The error that ``values_of`` described."""
    kind: type[PrunebenchError] = globals()[values["error"]]
    error = kind.__new__(kind, *values["arguments"])
    vars(error).update(values["known"])
    return error
