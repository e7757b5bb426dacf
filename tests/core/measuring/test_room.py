"""Processes of a round: as many as there is memory for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from latency_kit import IMGSZ, write_detector

from prunebench.common.cores import memory_bytes
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency import rounds as module
from prunebench.measuring.latency.log import SampleLog
from prunebench.measuring.latency.raw import SENTINEL
from prunebench.measuring.latency.room import SHARE, available_mb, fitting
from prunebench.measuring.latency.rounds import Rounds, Target
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.measuring.latency.together import MOST_AT_ONCE


@given(st.floats(0, 1e6), st.floats(1, 1e5))
def test_what_runs_together_fits_and_one_more_would_not(available: float, largest: float) -> None:
    count = fitting(available, largest)
    assert 1 <= count <= MOST_AT_ONCE
    assert count == 1 or count * largest <= SHARE * available
    assert count == MOST_AT_ONCE or (count + 1) * largest > SHARE * available


def test_what_is_available_is_what_the_kernel_says_and_never_beyond_the_whole(
    tmp_path: Path,
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  500000 kB\nMemFree:  1000 kB\nMemAvailable:  300000 kB\n")
    assert available_mb(meminfo) == pytest.approx(307.2)
    meminfo.write_text("MemAvailable:  9000000000000 kB\n")
    assert available_mb(meminfo) == memory_bytes() / 1e6 == available_mb(tmp_path / "none")


def test_a_round_is_measured_in_parts_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sentinel(tmp_path / "sentinel.onnx")
    variants = {}
    for depth in (1, 2, 3):
        path = tmp_path / f"depth-{depth}.onnx"
        write_detector(path, depth)
        variants[path.stem] = Target(path.stem, path, "")
    config = LatencyConfig(threads=(1,), rounds_min=3, rounds_max=3, seconds=0.05, warmup=1)
    parts: list[tuple[int, ...]] = []

    def rounds(available: float) -> Rounds:
        monkeypatch.setattr(module, "available_mb", lambda: available)
        folder = tmp_path / f"{available}"
        folder.mkdir()
        return Rounds(
            sentinel=Target(SENTINEL, tmp_path / "sentinel.onnx", ""),
            variants=variants,
            threads=(1,),
            cpus=None,
            settings=config.model_dump(mode="json"),
            frames=(),
            shared={"realtime_fps": 1.0, "imgsz": IMGSZ, "nc": 1, "seed": 0},
            work=folder,
            log=SampleLog(folder, {}),
            told=lambda samples, due: parts.append((len(samples), due)),
        )

    assert rounds(1e6).at_once() == MOST_AT_ONCE
    short = rounds(1000.0)
    took = short.at_once()
    assert 1 < took < MOST_AT_ONCE
    # As much as makes two of them fit: the sentinel and three files are two parts of a round.
    tight = rounds(2.2 * 1000.0 / took)
    assert tight.at_once() in (1, 2)
    tight.run(None)
    assert len(parts) == 3 * -(-4 // tight.at_once())
    assert {(s.round, s.variant) for s in tight.log.samples} == {
        (number, name) for number in range(3) for name in (SENTINEL, *variants)
    }
