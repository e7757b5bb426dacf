"""The set-up script: a machine whose Python will not do, and what it asks of uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD = 'case "$*" in *platform*) echo 3.9.2;; *version_info*) exit 1;; esac'
NO_VENV = 'case "$*" in *ensurepip*) exit 1;; esac'

# This Python, but for making an environment and installing uv: its uv says what it was asked.
STANDING_IN = """
case "$*" in
*"venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp uv .venv/bin/uv;;
*"pip install"*) ;;
*) exec {python} "$@";;
esac
"""
SAYING_UV = """#!/bin/sh
echo "uv $*"
env | grep -E "^(UV_DEFAULT_INDEX|UV_FIND_LINKS|SSL_CERT_FILE)="
"""


def run_setup(
    folder: Path, python: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the script of ``folder``, or this repository's, told nothing else by the environment."""
    told = ("PIP_", "UV_", "SSL_", "TORCH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    return subprocess.run(
        ["sh", str(folder / "scripts" / "setup"), *arguments],
        env={**kept, "PIP_CONFIG_FILE": os.devnull, "PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the scripts, the lock, and a uv that installs nothing."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    script(tmp_path / "uv", SAYING_UV)
    script(tmp_path / "python", f"#!/bin/sh{STANDING_IN.format(python=sys.executable)}")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "part"),
    [(OLD, "is 3.9.2"), (NO_VENV, "has no venv module"), (None, "found no")],
)
def test_a_python_that_will_not_do(tmp_path: Path, text: str | None, part: str) -> None:
    python = tmp_path / "python"
    if text is not None:
        script(python, f"#!/bin/sh\n{text}\n")
    done = run_setup(ROOT, python)
    assert done.returncode == 2
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_build_of_torch() -> None:
    done = run_setup(ROOT, Path(sys.executable), TORCH="gpu")
    assert done.returncode == 2
    assert "TORCH is 'gpu': set it to cpu" in done.stderr
    assert len(done.stderr.splitlines()) == 1


PINNED = "--constraint requirements.lock --build-constraint requirements.lock"


@pytest.mark.parametrize(
    ("arguments", "environment", "asked", "stamps"),
    [
        ([], {}, "", {".ready"}),
        (["dev"], {}, " --group dev", {".ready", ".ready-dev"}),
        ([], {"TORCH": "cpu"}, " --torch-backend cpu", {".ready"}),
    ],
)
def test_what_is_asked_of_uv(
    checkout: Path,
    arguments: list[str],
    environment: dict[str, str],
    asked: str,
    stamps: set[str],
) -> None:
    done = run_setup(checkout, checkout / "python", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        f"uv pip install {PINNED} --editable . --group run{asked}"
    )
    assert {path.name for path in (checkout / ".venv").glob(".ready*")} == stamps


def test_the_settings_of_pip_reach_uv(checkout: Path, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror.example/simple\nfind-links = a\n  b\n")
    told = {"PIP_CONFIG_FILE": str(config), "PIP_CERT": "/company.pem"}
    done = run_setup(checkout, checkout / "python", **told)
    assert set(done.stdout.splitlines()[1:]) == {
        "UV_DEFAULT_INDEX=https://mirror.example/simple",
        "UV_FIND_LINKS=a,b",
        "SSL_CERT_FILE=/company.pem",
    }
    done = run_setup(checkout, checkout / "python", **told, UV_DEFAULT_INDEX="https://own.example")
    assert "UV_DEFAULT_INDEX=https://own.example" in done.stdout.splitlines()


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.strip()}
    assert {"help", "demo", "test", "test-pythons", "lint", "format"} <= listed
