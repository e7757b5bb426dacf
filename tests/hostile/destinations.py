"""Places a result cannot go to: named before any work, not at its end."""

from __future__ import annotations

import shlex
from pathlib import Path

from hostile_kit import Case

from tests.conftest import ASSET


def taken(folder: Path) -> None:
    """A file where a folder is wanted, and a folder where a file is."""
    (folder / "file").write_text("")
    (folder / "folder.pt").mkdir()


STORE = "store=file://{inputs}/file/store"
MLFLOW = shlex.quote("mlflow={uri: 'http://127.0.0.1:9'}")
UNUSABLE = {
    f"run --model {ASSET} --data nosuch.yaml {STORE}": "store: the store file:///",
    f"run --dry-run --model {ASSET} --data nosuch.yaml {STORE}": "store: the store file:///",
    f"run --model {ASSET} --data nosuch.yaml store=nonsense://b": "store: nonsense://b: it cannot",
    f"run --model {ASSET} --data nosuch.yaml {MLFLOW}": "mlflow.uri: http://127.0.0.1:9 does not "
    "answer; start the server, correct the address, or leave the section out",
    f"run --model {ASSET} --data nosuch.yaml 'devices=[pi5]' store=memory://s": (
        "devices: devices take their work from a Prefect server, and there is none; start"
    ),
    f"run --model {ASSET} --data nosuch.yaml --out {{inputs}}/file": "the output path is a file",
    f"init --model {ASSET} --data nosuch.yaml --file {{inputs}}/file/c.yaml": "it cannot be "
    "written (Not a directory); choose another file with --file",
    "baseline --data nosuch.yaml --out {inputs}/folder.pt": "it is a folder; choose another file",
    "baseline --data nosuch.yaml --out model.onnx": "a checkpoint ends in .pt; use model.pt",
}

CASES = tuple(Case(command, taken, command, 2, says) for command, says in UNUSABLE.items())
