"""Where a device is that counts in place of this host."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, model_serializer

from prunebench.common.records import FOR_A_KEY, Record
from prunebench.measuring.host.fingerprint import Fingerprint

HOST = TypeAdapter(Fingerprint)


class There(Record):
    """A device by its name in the configuration, its ``ssh://`` address and its Python there.

    When it was looked at, ``host`` were the fields of its fingerprint, and the reference model took
    ``sentinel_ms`` on one thread.
    """

    name: str
    address: str
    python: str | None = None
    host: dict[str, Any] | None = None
    sentinel_ms: float | None = None

    @model_serializer(mode="wrap")
    def _without_address(self, handler: Any, info: Any) -> Any:
        """A key holds the fingerprint of the device beside it, wherever the device is."""
        return {} if info.context == FOR_A_KEY else handler(self)


def host_of(there: There) -> Fingerprint:
    """What a device was when it was looked at."""
    return HOST.validate_python(there.host)
