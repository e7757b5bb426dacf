"""A kit: made of a run, measured by a bare Python, brought home as a column."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser_kit import chromium
from device_kit import NAME, bare_python, make_run_to_carry

from prunebench.common.errors import InputError
from prunebench.measuring.agent import FILES, MANIFEST, RESULTS, SAMPLES
from prunebench.operating.gate.decision import GateLimits, decision_sentence
from prunebench.operating.gate.on_device import gate_on_device
from prunebench.operating.kit.make import write_kit
from prunebench.operating.kit.results import add_results
from prunebench.results.devices import read_devices
from prunebench.results.history.lookup import default_url
from prunebench.results.history.reading import history
from prunebench.results.history.store import Store
from prunebench.results.outcome import read_outcome

LEAST = 10**6
"""Bytes of a kit that are neither models nor frames, at most."""


OTHERS = {"litert": "ai_edge_litert", "mnn": "MNN", "ncnn": "ncnn", "openvino": "openvino"}
"""Runtimes that the baseline is converted for, to what is imported."""

LARGEST_AGENT = 60 * 10**6
"""Bytes that the agent holds in memory beside the process at work, at most."""


def run(python: Path, kit: Path, **known: Any) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(kit.parent), "TMPDIR": str(kit.parent)}
    return subprocess.run(
        [python, kit], env=environment, capture_output=True, text=True, check=False, **known
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run, with its kit on a ``device`` that has measured with OpenCV."""
    home = tmp_path_factory.mktemp("home")
    folder = make_run_to_carry(home, [*OTHERS])
    kit = write_kit(folder, home / "device" / "kit.pyz")
    ended = run(bare_python(home / "venv", "cv2", *OTHERS.values()), kit)
    assert ended.returncode == 0, ended.stderr
    assert f"{3 + len(OTHERS)} variants, threads 1: 3 rounds." in ended.stdout
    assert "Round 3: baseline " in ended.stdout
    assert "0 s left." in ended.stdout
    assert " to " not in ended.stdout.partition("Measuring")[2]
    return home


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "images", tmp_path / "images")
    return Path(shutil.copytree(home / NAME, tmp_path / NAME))


def test_a_kit_is_little_more_than_models_and_frames(home: Path) -> None:
    with zipfile.ZipFile(home / "device" / "kit.pyz") as archive:
        manifest = json.loads(archive.read(MANIFEST))
        protocol = manifest["protocol"]
        theirs = {*protocol["variants"].values(), *protocol["images"], *manifest["inputs"].values()}
        sizes = {entry.filename: entry.compress_size for entry in archive.infolist()}
    carried = sum(sizes[f"{FILES}/{sha256}"] for sha256 in theirs)
    assert (home / "device" / "kit.pyz").stat().st_size - carried < LEAST


def test_results_become_a_column_once_and_are_in_the_history(home: Path, folder: Path) -> None:
    results = home / "device" / "kit-results.zip"
    column = add_results(folder, results, "pi5")
    assert column.ranking is not None
    assert not column.model_only
    assert {row.name for row in column.ranking.rankings[0].rows} == {
        "baseline",
        "pruned",
        "preserving-1",
    }
    assert read_devices(folder) == (column,)
    assert "Rank, pi5" in (folder / "report.md").read_text()
    assert add_results(folder, results, "pi5") == column
    assert len(list((folder / "devices" / "pi5").iterdir())) == 1
    with Store(default_url(folder.parent)) as store:
        points = history(store, variant="pruned")
    assert column.fingerprint is not None
    assert [point.fingerprint for point in points] == [column.fingerprint.digest()]


def test_what_other_runtimes_took_there_is_compared_with_onnxruntimes(
    home: Path, folder: Path
) -> None:
    column = add_results(folder, home / "device" / "kit-results.zip", "pi5")
    assert column.ranking is not None
    ranking = column.ranking.rankings[0]
    found = {row.name: row for row in ranking.elsewhere}
    # One that took more threads than it was given would be listed with that.
    assert {*found} == {f"baseline-{name}" for name in OTHERS}, ranking.failures_elsewhere
    for row in found.values():
        assert row.of == "baseline"
        assert row.runtime.precision == "float32"
        assert row.times_own.estimate > 0


def test_the_gate_judges_by_what_the_device_measured(home: Path, folder: Path) -> None:
    add_results(folder, home / "device" / "kit-results.zip", "pi5")
    # The tiny network of ``preserving-1`` has three times the layers of the baseline's.
    limits = GateLimits(latency_percent=3, map50_loss=1)
    slower = gate_on_device(f"{folder}:preserving-1", f"{folder}:baseline", "pi5", limits)
    assert not slower.result.passed
    assert slower.result.regressions == ("preserving-1, 1 thread: latency",)
    assert "It is measured once." in decision_sentence(slower.result)
    same = gate_on_device(f"{folder}:baseline", f"{folder}:preserving-1", "pi5", limits)
    assert same.result.passed
    # Of a run alone it is the device's best that is meant, whatever is best here.
    column = read_devices(folder)[0]
    assert column.ranking is not None
    best = column.ranking.rankings[0].rows[0].name
    other = next(row.name for row in read_outcome(folder).rankings[0].rows if row.name != best)
    here = json.loads((folder / "ranking.json").read_text())
    here["rankings"][0]["rows"].sort(key=lambda row: row["name"] != other)
    (folder / "ranking.json").write_text(json.dumps(here))
    chosen = gate_on_device(str(folder), f"{folder}:{best}", "pi5", limits)
    assert chosen.candidate.startswith(f"{best}, the best-ranked variant")
    with pytest.raises(InputError, match="the run has no figures of laptop"):
        gate_on_device(f"{folder}:pruned", f"{folder}:baseline", "laptop", limits)


def test_without_opencv_the_models_time_alone_is_measured(home: Path, folder: Path) -> None:
    kit = folder.parent / "kit.pyz"
    shutil.copy(home / "device" / "kit.pyz", kit)
    ended = run(bare_python(folder.parent / "venv"), kit)
    assert ended.returncode == 0, ended.stderr
    assert "OpenCV is not installed here, so the model's time alone" in ended.stdout
    column = add_results(folder, kit.with_name("kit-results.zip"), "board")
    assert column.model_only
    assert column.ranking is not None
    unfit = column.ranking.rankings[0].failures_elsewhere
    assert {one.name for one in unfit} == {f"baseline-{name}" for name in OTHERS}
    assert all("No module named" in one.reason for one in unfit)
    assert "so its frames per second are of the network alone" in (folder / "report.md").read_text()


def test_small_and_killed_it_goes_on_after_its_last_round(home: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit.pyz"
    shutil.copy(home / "device" / "kit.pyz", kit)
    command = [str(home / "venv" / "bin" / "python"), str(kit)]
    killed = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)}
    )
    assert killed.stdout is not None
    assert any(line.startswith("Round 1") for line in killed.stdout)
    [line] = re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{killed.pid}/status").read_text())
    assert int(line) * 1024 < LARGEST_AGENT
    killed.kill()
    killed.wait()
    first = (tmp_path / "kit.measuring" / SAMPLES).read_text().splitlines()[:4]
    ended = run(home / "venv" / "bin" / "python", kit)
    assert ended.returncode == 0, ended.stderr
    assert "measured earlier: going on after them" in ended.stdout
    assert "Round 1:" not in ended.stdout
    with zipfile.ZipFile(tmp_path / "kit-results.zip") as archive:
        assert archive.read(SAMPLES).decode().splitlines()[:4] == first


def test_a_clock_that_is_wrong_moves_no_date(home: Path, folder: Path) -> None:
    def long_ago(said: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        said["ended_at"] -= 10**9
        for line in lines:
            line["started_s"] -= 10**9

    column = add_results(folder, changed(home, folder.parent, long_ago), "pi5")
    assert column.ranking is not None
    with Store(default_url(folder.parent)) as store:
        [point] = history(store, variant="pruned")
    assert point.started_at.year >= 2026


def test_an_emulators_times_are_no_column_and_in_no_history(home: Path, folder: Path) -> None:
    def emulated(said: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        said["emulator"] = "qemu-aarch64"

    column = add_results(folder, changed(home, folder.parent, emulated), "pi5")
    assert column.ranking is None
    assert column.fingerprint is not None
    assert "qemu-aarch64 runs this Python, an emulator" in (folder / "report.md").read_text()
    with Store(default_url(folder.parent)) as store:
        assert not history(store, variant="pruned")


def changed(home: Path, to: Path, change: Callable[[Any, Any], None]) -> Path:
    """A results file of which something was changed, its digest with it."""
    import hashlib

    with zipfile.ZipFile(home / "device" / "kit-results.zip") as archive:
        said = json.loads(archive.read(RESULTS))
        lines = [json.loads(line) for line in archive.read(SAMPLES).splitlines()]
    change(said, lines)
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    said["samples"] = hashlib.sha256(text).hexdigest()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(RESULTS, json.dumps(said))
        archive.writestr(SAMPLES, text)
    (to / "changed.zip").write_bytes(stream.getvalue())
    return to / "changed.zip"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said, lines: said.update(run="another"), "are of run another, not of this"),
        (
            lambda said, lines: said["protocol"]["variants"].update(pruned="0" * 64),
            "measured other files than this run's: pruned",
        ),
        (
            lambda said, lines: said["protocol"]["settings"].update(warmup=7),
            "by another protocol: settings",
        ),
        (lambda said, lines: said.update(format=0), "of another version's kit"),
        (lambda said, lines: said.pop("threads"), "the results are damaged"),
        (lambda said, lines: lines[0].update(model_ms="fast"), "the results are damaged"),
        (lambda said, lines: lines[0].update(variant="unknown"), "the results are damaged"),
    ],
)
def test_other_results_are_refused(
    home: Path, folder: Path, change: Callable[[Any, Any], None], sentence: str
) -> None:
    archive = changed(home, folder.parent, change)
    with pytest.raises(InputError, match=sentence) as told:
        add_results(folder, archive, "pi5")
    assert told.value.exit_code == 2
    assert read_devices(folder) == ()
    assert not (folder / "devices").exists()


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_damaged_archive_is_refused(home: Path, folder: Path, kept: float) -> None:
    content = (home / "device" / "kit-results.zip").read_bytes()
    cut = folder.parent / "cut.zip"
    cut.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(InputError, match="damaged"):
        add_results(folder, cut, "pi5")
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0xFF
    cut.write_bytes(bytes(flipped))
    with pytest.raises(InputError, match="damaged"):
        add_results(folder, cut, "pi5")


def test_another_archive_is_not_called_damaged_and_the_run_is_looked_at_first(
    folder: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(InputError, match="it is not what a kit writes; give a kit's results file"):
        add_results(folder, tmp_path / "other.zip", "pi5")
    with pytest.raises(InputError, match="not a run folder"):
        add_results(tmp_path, tmp_path / "other.zip", "pi5")


def test_a_kit_of_a_changed_run_or_a_damaged_kit_is_refused(home: Path, folder: Path) -> None:
    kit = folder.parent / "kit.pyz"
    with (
        zipfile.ZipFile(home / "device" / "kit.pyz") as whole,
        zipfile.ZipFile(kit, "w") as less,
    ):
        for name in whole.namelist():
            less.writestr(name, b"no model" if name.startswith(FILES) else whole.read(name))
    ended = run(home / "venv" / "bin" / "python", kit)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "the kit is damaged; copy it here again" in ended.stderr
    (folder / "variants" / "pruned" / "model.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match="the ONNX file is gone, or not the run's"):
        write_kit(folder, kit)
    (folder / "ranking.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        write_kit(folder, kit)


def test_three_devices_are_columns_that_a_browser_shows(home: Path, folder: Path) -> None:
    names = ("pi5", "orin-nano", "mini-pc")
    for name in names:
        add_results(folder, home / "device" / "kit-results.zip", name)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((folder / "report.html").as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        table = page.locator("table").filter(has_text="Rank, pi5")
        heads = table.locator("th").all_inner_texts()
        assert [head for head in heads if head.startswith("Rank, ")] == [
            f"Rank, {name}" for name in ("this host", *names)
        ]
        assert table.locator("tbody tr").count() == 3
        # All of them are to be seen at once.
        for text in ("Rank, pi5", "Model ms, pi5"):
            table = page.locator("table").filter(has_text=text)
            assert table.is_visible()
            box, last = table.bounding_box(), table.locator("th").nth(2 * len(names) + 2)
            assert box is not None
            assert box["x"] + box["width"] <= 1280
            assert last.inner_text().endswith("mini-pc")
        assert not errors
