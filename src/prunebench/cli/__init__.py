"""The command line of the core, one file per command; the commands that run a flow are in
`flows/cli.py`.
"""

# The modules are imported for their commands; their order is that of the help.
from prunebench.cli import experiment, host, over_time, sharing
from prunebench.cli.options import app, run_app

__all__ = ["app", "experiment", "host", "over_time", "run_app", "sharing"]
