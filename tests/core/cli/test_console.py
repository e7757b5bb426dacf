"""What a run shows while it goes on: lines for a log, a display for a terminal, or very little."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from prefect.settings import PREFECT_API_URL, temporary_settings
from report_kit import make_run
from rich.console import Console
from typer.testing import CliRunner

from flows import cli
from flows.console import shown_progress
from flows.running import run_shown
from flows.temporary_server import keeping_out_of_signals
from prunebench import __version__
from prunebench.cli import app, run_app
from prunebench.cli.options import PIPED_WIDTH
from prunebench.cli.views.comparison import comparison_view
from prunebench.common.errors import EXIT_DONE, EXIT_GATE, InputError, OutputError
from prunebench.common.sole_user import sole_user
from prunebench.config.loading import Config, parse_config
from prunebench.experiment.duration import TimeLeft, workload
from prunebench.experiment.given_model import given_request
from prunebench.experiment.plan import plan_variants
from prunebench.results.history.compare import compare_runs
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store
from prunebench.steps.events import Batch, Epoch, Failed, Finished, Stage, announce
from prunebench.steps.signals import INTERRUPTED
from prunebench.variants.devices import Devices
from tests.conftest import ASSET, ROOT

BATCH = Batch(phase="train", epoch=1, epochs=10, batch=1, batches=4)


def shown(*, terminal: bool = False, quiet: bool = False) -> str:
    """What is shown of a run in which one variant is trained, then finished, and one fails."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    config = Config(model="best.pt")
    plan = plan_variants(config)
    with shown_progress(console, quiet=quiet) as clock:
        clock.left = TimeLeft(workload(config, plan), {v.name: v.parent for v in plan})
        announce(Stage(what="starting"))
        announce(BATCH.model_copy(update={"variant": "standard-1", "seconds_left": 100.0}))
        announce(Epoch(variant="standard-1", epoch=1, epochs=10))
        announce(Finished(step="make", variant="standard-1", found="restored"))
        announce(Failed(variant="preserving-1", reason="no memory"))
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


def test_overrides_win_over_options_and_need_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "seed=3", "-m", "best.pt", "--json", f"model={ASSET}", "prune.target=0.3"]
    app(arguments, standalone_mode=False)
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["model"], config["seed"], config["prune"]["target"]) == (str(ASSET), 3, 0.3)


def test_the_help_shows_overrides() -> None:
    shown = CliRunner().invoke(cli.app, ["run", "--help"]).output
    assert "[KEY=VALUE]..." in shown
    assert "prune.target=2x retrain.epochs=20" in " ".join(shown.replace("│", " ").split())


def test_a_command_starts_without_the_heavy_libraries() -> None:
    heavy = "{'cv2', 'onnxruntime', 'pandas', 'plotly', 'prefect', 'scipy', 'torch', 'ultralytics'}"
    code = f"import flows.cli, sys; print({heavy} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    application = typer.Typer()

    @application.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["prunebench"])
    with pytest.raises(SystemExit) as ended:
        run_app(application)
    assert ended.value.code == INTERRUPTED
    assert "the same command goes on where it stopped: prunebench" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    application = typer.Typer()

    @application.command()
    def refused() -> None:
        raise PermissionError(13, "Permission denied", "/read-only/file")

    monkeypatch.setattr(sys, "argv", ["prunebench"])
    with pytest.raises(SystemExit) as ended:
        run_app(application)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told == "prunebench: [Errno 13] Permission denied: '/read-only/file'\n"


def test_a_signal_leaves_the_server_to_hear_of_the_end() -> None:
    """The server installs handlers of its own, as uvicorn does, and yet hears nothing of it."""
    code = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(3))
print("ready", flush=True)
sys.stdin.read()
"""
    with keeping_out_of_signals():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate("")
    assert process.returncode == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_run_with_a_server_does_not_import_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect.server.api.server", None)
    anew = runpy.run_path(str(ROOT / "flows" / "temporary_server.py"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), anew["prefect_server"]():
        pass
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ModuleNotFoundError),
        anew["prefect_server"](),
    ):
        pass


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    app(["--version"], standalone_mode=False)
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("given", "variable", "value", "begins"),
    [
        (["history"], "PRUNEBENCH_HISTORY", "nonsense", "PRUNEBENCH_HISTORY=nonsense: "),
        (["history", "--url", "nonsense"], "PRUNEBENCH_HISTORY", "nonsense", "nonsense: "),
        (["run", "-o", "{out}"], "PRUNEBENCH_MODEL", "no.pt", "PRUNEBENCH_MODEL=no.pt: "),
        (["run", "-o", "{out}", "-m", "no.pt"], "PRUNEBENCH_MODEL", "other.pt", "no.pt: "),
    ],
)
def test_what_a_variable_said_is_told_as_that(
    given: list[str],
    variable: str,
    value: str,
    begins: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["prunebench", *(part.format(out=tmp_path) for part in given)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 2
    assert f"prunebench: {begins}" in capsys.readouterr().err


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_rebenchmark_prints_old_against_new(
    confirmed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "20260101T000000-abc"
    outcome = make_run(run, threads=(1,), rounds=4, frames=4)
    with Store(f"sqlite:///{tmp_path}/history.db") as store:
        number = str(record_run(store, run).id)
        comparison = compare_runs(store, number, number)
    measured = {
        "folder": str(run),
        "failed": [],
        "ranking": outcome.model_dump(mode="json"),
        "comparison": comparison.model_dump(mode="json"),
    }
    sentences = [{"sentence": "pruned is slower, twice."}] if confirmed else []
    state = SimpleNamespace(
        is_completed=lambda: True, result=lambda: {"runs": [measured], "regressions": sentences}
    )
    monkeypatch.setattr("prunebench.operating.rebenchmark.read_source", lambda _: None)
    monkeypatch.setattr("flows.rebenchmark.rebenchmark", lambda *_, **__: state)
    monkeypatch.setattr("flows.temporary_server.prefect_server", contextlib.nullcontext)
    ended = CliRunner().invoke(app, ["rebenchmark", str(run)])
    assert ended.exit_code == (EXIT_GATE if confirmed else EXIT_DONE)
    Console(width=PIPED_WIDTH).print(comparison_view(comparison))
    assert capsys.readouterr().out.strip() in ended.stdout
    unlike = comparison.model_copy(update={"changes": ()})
    Console(width=PIPED_WIDTH).print(comparison_view(unlike))
    assert capsys.readouterr().out.strip().endswith("there is nothing to compare.")
    assert ("pruned is slower, twice." in ended.stdout) == confirmed


def test_a_folder_that_is_taken_is_told_before_the_inputs_are_looked_at(tmp_path: Path) -> None:
    config = parse_config({"model": "none.pt", "out": str(tmp_path)})
    with sole_user(tmp_path), pytest.raises(OutputError, match="another run is writing"):
        run_shown(config, Console(file=io.StringIO()), quiet=True)


def test_what_is_checked_by_hand_trains_where_the_cluster_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there, asked = Devices(precision="bfloat16", cores=3), []

    def check(config: Config) -> None:
        asked.append(given_request(config, None).devices)
        raise InputError("enough")

    monkeypatch.setattr("flows.running.check_other_hosts", lambda _: there)
    monkeypatch.setattr("prunebench.experiment.prepare.check", check)
    config = parse_config({"model": "best.pt", "out": str(tmp_path), "prune": {"round_to": 8}})
    with pytest.raises(InputError, match="enough"):
        run_shown(config, Console(file=io.StringIO()), quiet=True)
    assert asked == [there]
