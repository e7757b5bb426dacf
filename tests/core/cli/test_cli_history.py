"""The commands that read the history, and the check of its URL before a run starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from history_kit import FIRST_RUN, another_run, first_run, on_another_host

from prunebench import cli
from prunebench.common.errors import InputError
from prunebench.config.loading import parse_config
from prunebench.experiment.prepare import prepare
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from tests.conftest import tiny_values

Outcome = tuple[int, str, str]

QUIET, SLOW = 6, 6
"""Runs before and after every variant became 20 % slower."""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run the core's command line in this process; exit code, standard output and error."""

    def call(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["prunebench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.run_app(cli.app)
        code = caught.value.code
        captured = capsys.readouterr()
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in a history of their own: a change half way, and one run of another host."""
    folder = tmp_path_factory.mktemp("out")
    first = first_run(folder)
    with Store(default_url(folder)) as store:
        record_run(store, first)
        for day in range(1, QUIET + SLOW):
            slower = 1.0 if day < QUIET else 1.2
            # Rounds that repeat exactly would tie in rank: each day differs a little.
            run = another_run(first, f"day-{day:02}", days=day, slower=slower * (1 + day / 1000))
            record_run(store, run)
        record_run(store, on_another_host(another_run(first, "elsewhere", days=20)))
    return folder


def test_history_marks_the_change_and_says_why_another_host_has_none(
    command: Callable[..., Outcome], out: Path
) -> None:
    code, shown, _ = command("history", "--variant", "pruned", "--out", out)
    text = " ".join(shown.split())
    assert code == 0
    assert text.count("compare: pruned, 1 thread, host ") == 2
    assert shown.count("Changed with ") == 1
    assert f"Changed with day-{QUIET:02}: " in text
    assert "elsewhere" in text
    assert "changes are marked from 10 on" in text


def test_history_as_json_has_every_point_and_the_change(
    command: Callable[..., Outcome], out: Path
) -> None:
    code, shown, _ = command("history", "--variant", "pruned", "--out", out, "--json")
    series = {len(one["points"]): one for one in json.loads(shown)}
    assert code == 0
    assert set(series) == {QUIET + SLOW, 1}
    (change,) = series[QUIET + SLOW]["changes"]
    assert change["index"] == QUIET
    assert change["after"] / change["before"] == pytest.approx(1.2, abs=0.02)
    assert series[1]["changes"] == []


def test_history_is_narrowed_down(command: Callable[..., Outcome], out: Path) -> None:
    url = default_url(out)
    assert "no such results" in command("history", "--threads", "2", "--url", url)[1]
    assert "no such results" in command("history", "--experiment", "other", "--url", url)[1]
    variants = {s["variant"] for s in json.loads(command("history", "--url", url, "--json")[1])}
    assert variants == {"baseline", "pruned", "preserving-1"}


def test_a_missing_history_is_bad_input_and_none_is_made(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    code, _, sentence = command("history", "--out", tmp_path / "none")
    assert code == 2
    assert "there is no history yet; finish a run" in " ".join(sentence.split())
    assert list(tmp_path.iterdir()) == []


def test_compare_shows_the_slowdown(command: Callable[..., Outcome], out: Path) -> None:
    code, shown, _ = command("compare", FIRST_RUN, "day-07", "--out", out)
    assert code == 0
    assert f"{FIRST_RUN} -> day-07" in shown
    assert shown.count("slower") == 3
    assert shown.count("same") == 3
    code, shown, _ = command("compare", FIRST_RUN, "day-07", "--out", out, "--json")
    assert {c["verdict"] for c in json.loads(shown)["changes"]} == {"slower"}


def test_compare_across_hosts_only_when_asked(command: Callable[..., Outcome], out: Path) -> None:
    runs = (FIRST_RUN, "elsewhere", "--out", out)
    code, _, sentence = command("compare", *runs)
    assert code == 2
    assert "measured on different hosts (onnxruntime: " in " ".join(sentence.split())
    code, shown, _ = command("compare", *runs, "--across-hosts")
    assert code == 0
    assert "Measured on different hosts: onnxruntime: " in " ".join(shown.split())


def test_compare_takes_run_folders_and_records_them(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    """A run whose recording failed is not lost."""
    first = first_run(tmp_path)
    second = another_run(first, "second", days=1)
    code, shown, _ = command("compare", first, second, "--json")
    assert code == 0
    assert json.loads(shown)["after"] == "second"
    assert (tmp_path / "history.db").is_file()
    assert command("compare", FIRST_RUN, "second", "--out", tmp_path)[0] == 0


def test_an_unknown_run_is_named(command: Callable[..., Outcome], out: Path) -> None:
    code, _, sentence = command("compare", FIRST_RUN, "nowhere", "--out", out)
    assert code == 2
    assert "the history has no run nowhere" in " ".join(sentence.split())


@pytest.mark.usefixtures("given_here")
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://host/db", "mysql is not supported as a history store"),
        ("nonsense", "not a database URL"),
        ("postgresql://tester@127.0.0.1:1/none", "the history store cannot be opened"),
    ],
)
def test_a_history_that_cannot_be_opened_stops_a_run_before_it_starts(
    tmp_path: Path, url: str, sentence: str
) -> None:
    config = parse_config(tiny_values(tmp_path / "out", history=url))
    with pytest.raises(InputError) as caught:
        prepare(config)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
