"""A device over ssh: a real sshd on loopback, whose user has a bare Python; cables are pulled."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from device_kit import bare_python, make_run_to_carry
from latency_kit import IMGSZ, write_detector
from ssh_kit import Board, served_board

from prunebench.common.errors import ConfigError, StepError
from prunebench.common.records import sha256_of
from prunebench.config.devices import SshDevice
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.block import row_of_convolutions
from prunebench.measuring.host.fingerprint import cpu_model
from prunebench.measuring.latency.rounds import Target
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.remote import transport
from prunebench.measuring.remote.asking import Device as Asked
from prunebench.measuring.remote.asking import device_at
from prunebench.measuring.remote.there import There
from prunebench.operating.kit.results import keep_column
from prunebench.operating.kit.ssh import measure_there
from prunebench.results.devices import Device
from prunebench.variants.int8.on_device import decided, rows
from prunebench.variants.pruning import costs


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(transport, "PAUSES_S", (0.2, 0.5, 1.0))
        yield from served_board(tmp_path_factory.mktemp("board"), monkeypatch)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_to_carry(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def python(board: Board) -> str:
    return str(bare_python(board.home / "venv", "cv2"))


def asked(run: Path, device: SshDevice) -> tuple[Device, list[str]]:
    lines: list[str] = []
    return measure_there(run, "board", device, lambda line, _: lines.append(line)), lines


def test_a_pulled_cable_loses_nothing_and_only_what_changed_is_sent(
    run: Path, board: Board, python: str
) -> None:
    lines: list[str] = []

    def told(line: str, name: str) -> None:
        assert name == "board"
        lines.append(line)
        if line.startswith("Round 1"):
            board.pull_cable()

    column = measure_there(run, "board", board.device(python), told)
    assert column.failure is None
    assert column.ranking is not None
    assert not column.model_only
    text = "\n".join(lines)
    assert "trying again in 0.2 s" in text
    assert "measured earlier: going on after them" in text
    assert [line.split(",")[0] for line in lines if line.startswith("sending")] == [
        "sending 8 files",
        "sending 1 file",
    ]
    keep_column(run, column)
    assert "Rank, board" in (run / "report.md").read_text()
    # Asked again, all that it measured is there already, and so is the column.
    again, _ = asked(run, board.device(python))
    assert again == column


@pytest.mark.parametrize(
    ("tool", "answer", "reason"),
    [
        ("uname", "armv7l", "its system is armv7l of 64 bits, onnxruntime needs x86_64 or aarch64"),
        ("getconf", "32", "its system is x86_64 of 32 bits"),
        ("df", "/dev/root 100 99 1 99% /", "its disk is full: 0 MB are free, 5"),
    ],
)
def test_what_a_device_cannot_do_is_its_state(
    run: Path, board: Board, python: str, tool: str, answer: str, reason: str
) -> None:
    with board.saying(tool, answer):
        column, _ = asked(run, board.device(python))
    assert column.ranking is None
    assert column.failure is not None
    assert reason in column.failure


def test_a_wrong_clock_is_told_and_measured_all_the_same(
    run: Path, board: Board, python: str
) -> None:
    with board.saying("date", "0"):
        column, lines = asked(run, board.device(python))
    assert column.ranking is not None
    assert any("dates are taken from here" in line for line in lines)


def test_an_environment_that_cannot_be_made_is_its_state(run: Path, board: Board) -> None:
    column, lines = asked(run, board.device())
    assert column.failure is not None
    assert column.failure.startswith("no environment can be made there (")
    assert "numpy" in column.failure
    assert any("installing numpy onnxruntime" in line for line in lines)


def test_another_python_that_lacks_onnxruntime_is_its_state(run: Path, board: Board) -> None:
    column, _ = asked(run, board.device("/usr/bin/python3"))
    assert column.failure is not None
    assert column.failure.startswith("install first: python3 -m pip install")


def test_host_keys_are_never_skipped(run: Path, board: Board, python: str) -> None:
    known = board.known.read_text()
    board.known.write_text("")
    try:
        column, _ = asked(run, board.device(python))
    finally:
        board.known.write_text(known)
    assert column.failure is not None
    assert column.failure.startswith("its host key is not known here, or changed")


def test_a_device_that_is_gone_is_its_state(run: Path, board: Board, python: str) -> None:
    board.stop()
    try:
        column, lines = asked(run, board.device(python))
    finally:
        board.start()
    assert column.failure is not None
    assert "it cannot be reached (" in column.failure
    assert sum("trying again" in line for line in lines) == 3


@pytest.mark.parametrize(
    "address", ["pi@board", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://board/path", "ssh://a@-b"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"devices\.pi5\.address"):
        parse_config({"model": "best.pt", "devices": {"pi5": address}})
    config = parse_config({"model": "best.pt", "devices": {"pi5": "ssh://pi@board:2222"}})
    assert list(config.over_ssh) == ["pi5"]
    assert config.queues == ()


@contextlib.contextmanager
def asking(
    board: Board,
    python: str,
    host: dict[str, Any] | None = None,
    said: Sequence[str] = (),
) -> Iterator[Asked]:
    at = board.device(python)
    there = There(name="pi5", address=at.address, python=at.python, host=host)
    settings = LatencyConfig(threads=(1,), rounds_min=3, rounds_max=3, seconds=0.05, paced=False)
    lines: list[str] = []
    with device_at(there, settings.model_dump(mode="json"), lines.append) as device:
        yield device
    assert not list((board.home / ".prunebench" / "jobs").iterdir())
    assert all(line.startswith("pi5: ") for line in lines)
    assert [line for line in lines if "throttled" in line] == [f"pi5: {one}" for one in said]


def test_pruning_measures_on_a_device_what_it_measures_here(
    board: Board, python: str, tmp_path: Path
) -> None:
    # A run that was killed a day ago could not remove its own.
    left = board.home / ".prunebench" / "jobs" / "left"
    left.mkdir(parents=True)
    os.utime(left, (a_day_ago := time.time() - 25 * 3600, a_day_ago))
    with asking(board, python) as device:
        there = device.look()
    host = there.host
    assert host is not None
    assert there.sentinel_ms is not None
    assert there.sentinel_ms > 0
    assert host["cpu"] == cpu_model()
    assert host["opencv"] == "unused"
    layer = ("Conv", (3, 3), 1, 1, (8, 8), True, 8, 8)
    targets = []
    for depth in (2, 20):
        onnx = tmp_path / f"depth-{depth}.onnx"
        write_detector(onnx, depth)
        targets.append(Target(onnx.stem, onnx, sha256_of(onnx)))
    throttled = ["its CPU was throttled meanwhile"]
    with asking(board, python, host, throttled) as device:
        [[one, other]] = device.layers([(costs._graph([layer, layer]), 2)], 1)
        assert one > 0
        assert other > 0
        both = {"a": row_of_convolutions(33, "float"), "b": row_of_convolutions(34, "float")}
        turns = device.turns(both, 3, 0.05)
        assert min(len(turns["a"]), len(turns["b"])) >= 3
        assert decided(device.turns(rows(), 3, 0.05)).integers.activations in ("u8", "s8")
        assert not device.throttled
        shared = {"realtime_fps": 1.0, "imgsz": IMGSZ, "nc": 1, "seed": 0}
        with board.saying("vcgencmd", "throttled=0x4"):
            medians = round_medians(device.rounds(targets, shared), "model")
        assert device.throttled
    shallow, deep = (list(medians[target.name, 1].values()) for target in targets)
    assert len(shallow) == 3
    assert min(deep) > 2 * min(shallow)


def test_a_device_that_changed_or_vanishes_while_pruning_measures_is_told(
    board: Board, python: str, run: Path
) -> None:
    with asking(board, python) as device:
        host = device.look().host
    assert host is not None
    older = {**host, "onnxruntime": "1.23.0"}
    with (
        pytest.raises(
            StepError,
            match=r"measuring on pi5 failed: it is another host by now \(onnxruntime: 1.23.0 -> ",
        ) as told,
        asking(board, python, older) as device,
    ):
        device.layers([], 1)
    assert told.value.exit_code == 1
    board.stop()
    try:
        with (
            pytest.raises(StepError, match=r"pi5 failed: it cannot be reached \("),
            asking(board, python, host) as device,
        ):
            device.layers([], 1)
    finally:
        board.start()
