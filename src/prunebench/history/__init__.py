"""Results over time: the store, what it holds, what changed, and the gate."""

from prunebench.history.changes import Change, MarkedSeries, change_points, mark_changes
from prunebench.history.compare import RunChange, RunComparison, compare_runs
from prunebench.history.gate import (
    Check,
    GateFinding,
    GateLimits,
    GateResult,
    decide,
    judge,
    needs_confirmation,
    paired_checks,
    stored_check,
)
from prunebench.history.reading import (
    Point,
    StoredRun,
    history,
    hosts,
    logs_to_sentinel,
    stored_runs,
)
from prunebench.history.recording import Recorded, record_run
from prunebench.history.store import Store, default_url

__all__ = [
    "Change",
    "Check",
    "GateFinding",
    "GateLimits",
    "GateResult",
    "MarkedSeries",
    "Point",
    "Recorded",
    "RunChange",
    "RunComparison",
    "Store",
    "StoredRun",
    "change_points",
    "compare_runs",
    "decide",
    "default_url",
    "history",
    "hosts",
    "judge",
    "logs_to_sentinel",
    "mark_changes",
    "needs_confirmation",
    "paired_checks",
    "record_run",
    "stored_check",
    "stored_runs",
]
