"""The commands that need no orchestrator. ``flows.cli`` adds those that do."""

# The modules are imported for their commands; their order is that of the help.
from prunebench.cli import experiment, host, over_time, sharing
from prunebench.cli.common import app, run_app

__all__ = ["app", "experiment", "host", "over_time", "run_app", "sharing"]
