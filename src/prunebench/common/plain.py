"""Records as plain dataclasses, for what also runs where there is no pydantic.

Pydantic reads and checks them where a record holds one, or a ``TypeAdapter`` is made of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Overlap = Literal["box", "mask", "pose"]  # What the IoU behind an mAP is taken of.


class Plain:
    """Base of every plain dataclass: to pydantic, unknown fields are an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class Interval(Plain):
    """An estimate with the ends of its confidence interval and that interval's level."""

    estimate: float
    low: float
    high: float
    level: float = 0.95
