"""Which pruned YOLO do I ship on this CPU, and is the difference real?

From Python: ``from prunebench import run_experiment, rank, audit, load_run``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunebench.experiment.runner import run_experiment
    from prunebench.results.run import Run, load_run
    from prunebench.results.table.ranked import rank
    from prunebench.variants.audit import audit

__version__ = "0.1.0"
"""The one place it is written down: the metadata and the reports read it."""

__all__ = ["Run", "__version__", "audit", "load_run", "rank", "run_experiment"]

_MODULES = {
    "Run": "prunebench.results.run",
    "audit": "prunebench.variants.audit",
    "load_run": "prunebench.results.run",
    "rank": "prunebench.results.table.ranked",
    "run_experiment": "prunebench.experiment.runner",
}


def __getattr__(name: str) -> Any:
    # The measuring child imports this package too, and must not load what it does not need.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
