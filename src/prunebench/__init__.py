"""Which pruned YOLO do I ship on this CPU, and is the difference real?

From Python: ``from prunebench import compare, rank, audit, load_run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunebench.api import Run, audit, compare, load_run, rank

__version__ = "0.1.0"
"""The one place it is written down: the metadata and the reports read it."""

__all__ = ["Run", "__version__", "audit", "compare", "load_run", "rank"]


def __getattr__(name: str) -> Any:
    # The measuring child imports this package too, and must not load what it does not need.
    if name in __all__:
        from prunebench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
