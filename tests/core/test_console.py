"""What a run shows while it goes on: lines for a log, a display for a terminal, or very little."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from rich.console import Console

from flows.console import shown_progress
from prunebench.config import Config
from prunebench.plan import plan_variants
from prunebench.progress import announce
from prunebench.time_left import TimeLeft, workload
from tests.conftest import ROOT

BATCH = {"kind": "batch", "phase": "train", "epoch": 1, "epochs": 10, "batch": 1, "batches": 4}


def shown(*, terminal: bool = False, quiet: bool = False) -> str:
    """What is shown of a run in which one variant is trained, then finished, and one fails."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    config = Config(model="best.pt")
    plan = plan_variants(config)
    with shown_progress(console, quiet=quiet) as clock:
        clock.left = TimeLeft(workload(config, plan), {v.name: v.parent for v in plan})
        announce({"kind": "stage", "text": "starting"})
        announce({**BATCH, "variant": "standard-1", "seconds_left": 100.0})
        announce({"kind": "epoch", "variant": "standard-1", "epoch": 1, "epochs": 10})
        announce({"kind": "finished", "variant": "standard-1", "text": "restored"})
        announce({"kind": "failed", "variant": "preserving-1", "reason": "no memory"})
    return stream.getvalue()


def test_lines_tell_the_time_left_of_the_whole_run() -> None:
    lines = shown().splitlines()
    assert lines[0] == "[    0 s] starting"
    assert lines[1].startswith("[    0 s, about ")
    assert " min left] standard-1: epoch 1/10" in lines[1]
    assert lines[-1].endswith("preserving-1: failed: no memory")


def test_a_terminal_shows_the_whole_run_too() -> None:
    text = shown(terminal=True)
    assert "the whole run, about " in text
    assert "standard-1: restored" in text


def test_a_quiet_run_says_what_a_log_is_read_for() -> None:
    assert shown(quiet=True).splitlines() == [
        "standard-1: restored",
        "preserving-1: failed: no memory",
    ]


def test_a_shell_completes_options() -> None:
    asked = {
        "_PRUNEBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "prunebench run --dry",
        "COMP_CWORD": "2",
    }
    script = "from flows.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'prunebench'; {script}"],
        env={**os.environ, **asked},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["--dry-run"]
