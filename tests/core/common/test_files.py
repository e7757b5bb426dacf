from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prunebench.common.errors import InputError, OutputError
from prunebench.common.files import (
    check_output_file,
    check_output_folder,
    place,
    taken_back,
    write_atomically,
)
from prunebench.common.sole_user import sole_user


@pytest.fixture
def small_disk(tmp_path: Path):
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    path = small_disk / "result.json"
    write_atomically(path, "old")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"x" * 200_000)
    assert path.read_text() == "old"
    assert [entry.name for entry in small_disk.iterdir()] == ["result.json"]


def test_a_full_output_folder_is_refused_without_a_trace(small_disk: Path) -> None:
    with pytest.raises(OutputError, match="MB are free"):
        check_output_folder(small_disk / "runs")
    assert list(small_disk.iterdir()) == []


def test_a_read_only_output_folder_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match="read-only"):
        check_output_folder(small_disk / "runs", needed_bytes=1)


def test_an_output_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    path.write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_output_folder(path, needed_bytes=1)


@pytest.mark.parametrize("below", ["", "run"])
def test_an_output_path_through_a_link_that_leads_nowhere_is_refused(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(OutputError, match="No such file"):
        check_output_folder(tmp_path / "runs" / below, needed_bytes=1)
    with pytest.raises(OutputError, match="No such file"):
        check_output_file(tmp_path / "runs" / below / "mine.yaml", "--file")


def test_a_folder_that_can_be_made_is_not_made_by_asking(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "a" / "b", needed_bytes=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "kept_after_s", "beside", "left"),
    [
        ("", 60, "", []),
        ("runs", 60, "", ["runs"]),
        ("runs/.data", 60, "", ["runs", "runs/.data", "runs/.data/new"]),
        ("", 0, "", ["runs", "runs/.data", "runs/.data/new"]),  # It took long to make.
        ("", 60, "runs/run", ["runs", "runs/.data", "runs/.data/new", "runs/run"]),  # Another's.
    ],
)
def test_what_a_refused_command_made_is_taken_back(
    tmp_path: Path, there: str, kept_after_s: float, beside: str, left: list[str]
) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    folder = tmp_path / "runs" / ".data"
    with contextlib.suppress(InputError), taken_back(folder, kept_after_s=kept_after_s):
        write_atomically(folder / "new", "")
        (tmp_path / beside).mkdir(exist_ok=True)
        raise InputError("refused")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == left


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from prunebench.common.sole_user import sole_user\n"
        "with sole_user(Path(sys.argv[1])): pass"
    )
    with sole_user(tmp_path):
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert "another run is writing to this folder right now" in other.stderr
    alone = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert alone.returncode == 0


def test_placing_a_file_replaces_the_target_and_shares_its_content(tmp_path: Path) -> None:
    source = tmp_path / "a" / "model.onnx"
    write_atomically(source, "new")
    target = tmp_path / "b" / "model.onnx"
    write_atomically(target, "old")
    place(source, target)
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["model.onnx"]  # noqa: PTH208


def test_a_file_that_is_in_place_is_placed_again_without_a_trace(tmp_path: Path) -> None:
    source, target = tmp_path / "model.onnx", tmp_path / "run" / "model.onnx"
    source.write_bytes(b"network")
    for _ in range(2):
        place(source, target)
        assert [entry.name for entry in target.parent.iterdir()] == ["model.onnx"]
    assert target.samefile(source)
