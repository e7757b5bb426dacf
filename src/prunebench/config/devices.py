"""Other hosts that measure too: reached over ssh, or by a Prefect work queue of their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from prunebench.config.forms import SSH_ADDRESS
from prunebench.config.sections import DeviceName, Section, each_once


class SshDevice(Section):
    """A device that the system's ssh reaches; ``ssh://user@host:port`` alone is short for it."""

    address: str = Field(
        pattern=SSH_ADDRESS,
        description="ssh://user@host:port, user and port where ssh does not know them; the host "
        "may be a name in ~/.ssh/config.",
    )
    python: str | None = Field(
        None,
        min_length=1,
        description="Python there that has numpy and onnxruntime; null: an environment is made.",
    )


def _address_alone(value: Any) -> Any:
    return {"address": value} if isinstance(value, str) else value


def _form(value: Any) -> str:
    return "dict[]" if isinstance(value, Mapping) else "tuple[]"


Ssh = Annotated[SshDevice, BeforeValidator(_address_alone)]
Queues = Annotated[tuple[DeviceName, ...], AfterValidator(each_once)]
Devices = Annotated[
    Annotated[Queues, Tag("tuple[]")] | Annotated[dict[DeviceName, Ssh | None], Tag("dict[]")],
    Discriminator(_form),
]
"""Names of work queues; or by name an address, and null where it is a work queue."""
