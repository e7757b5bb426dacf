"""The command line: every module here adds its command to ``options.app``. The commands that run a
flow are in `flows/cli.py`.
"""

import importlib
import pkgutil

from prunebench.cli.options import app, run_app

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["app", "run_app"]
