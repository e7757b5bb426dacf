"""The set-up script on a machine whose Python will not do: one sentence, exit code 2."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD = 'case "$*" in *platform*) echo 3.9.2;; *version_info*) exit 1;; esac'
NO_VENV = 'case "$*" in *ensurepip*) exit 1;; esac'


@pytest.mark.parametrize(
    ("script", "part"),
    [(OLD, "is 3.9.2"), (NO_VENV, "has no venv module"), (None, "found no")],
)
def test_a_python_that_will_not_do(tmp_path: Path, script: str | None, part: str) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "setup")],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.strip()}
    assert {"help", "demo", "test", "lint", "format"} <= listed
