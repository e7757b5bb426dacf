"""The command line: modules here add commands to ``options.app``, `flows/cli.py` the rest."""

import importlib
import pkgutil

from prunebench.cli.options import app, run_app

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["app", "run_app"]
