"""The block of channels: the rule on timings, the layout on real graphs, and what is remembered."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import block_kit
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.common.cores import affinity
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host import block as module
from prunebench.measuring.host import block_timing, fingerprint, remembered
from prunebench.measuring.host.block import (
    WIDTHS,
    Block,
    Request,
    measure_block,
    row_of_convolutions,
)
from prunebench.measuring.host.block_timing import (
    Turns,
    block_of,
    block_of_layout,
    cost_of_steps,
    padded_width,
)
from prunebench.measuring.host.lock import HOLDER_FILE
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_block

SESSION = SessionSettings.of(LatencyConfig())


def padded_to(block: int, width: int) -> int:
    return math.ceil(width / block) * block


@given(
    st.sampled_from([1, 2, 4, 8, 16]),
    st.floats(0, 0.2),
    st.lists(st.floats(0.995, 1.005), min_size=16, max_size=16),
)
def test_a_kernel_that_pads_has_the_block_it_pads_to(
    block: int, overhead: float, noise: list[float]
) -> None:
    times = {
        width: (padded_to(block, width) ** 2 + overhead * 48**2) * off
        for width, off in zip(WIDTHS, noise, strict=True)
    }
    assert block_of(times) == block


@given(st.floats(0.1, 1e6))
def test_a_step_that_costs_its_arithmetic_costs_all_of_it(unit: float) -> None:
    times = {width: unit * width**2 for width in WIDTHS}
    for step in (1, 2, 4, 8):
        assert cost_of_steps(times, step) == pytest.approx(1)


def test_the_blocks_of_what_was_timed() -> None:
    found = [b.channels for b in (block_kit.BLOCKED, block_kit.INT8, block_kit.PLAIN)]
    assert found == [16, 16, 1]


@pytest.mark.parametrize("block", [8, 16])
def test_the_block_of_a_layout_is_the_one_that_widths_are_padded_to(block: int) -> None:
    assert block_of_layout({w: padded_to(block, w) for w in (36, 40, 44, 48)}) == block


@pytest.mark.parametrize(("level", "blocks"), [("all", True), ("extended", False)])
def test_the_graph_says_whether_a_width_is_padded(tmp_path: Path, level: str, blocks: bool) -> None:
    settings = SessionSettings.of(LatencyConfig(graph_level=level))
    rows = {width: row_of_convolutions(width, "float") for width in (36, 47, 48)}
    found = {width: padded_width(row, settings, tmp_path) for width, row in rows.items()}
    assert found[47] is None
    # Where this CPU has no blocked layout at all, as ARM's, there is none at any level.
    if not blocks or found[48] is None:
        assert set(found.values()) == {None}
    else:
        assert found in ({36: 40, 47: None, 48: 48}, {36: 48, 47: None, 48: 48})


def test_an_int8_row_runs_on_integers(tmp_path: Path) -> None:
    options = session_options(SESSION, 1)
    options.optimized_model_filepath = str(tmp_path / "row.onnx")
    open_session(row_of_convolutions(40, "int8"), options)
    written = (tmp_path / "row.onnx").read_bytes()
    assert written.count(b"QLinearConv") >= 2


def test_every_width_gets_as_many_turns() -> None:
    turns = Turns({w: row_of_convolutions(w, "int8") for w in (33, 48)}, SESSION)
    turns.take(0.05)
    counts = {len(taken) for taken in turns.microseconds.values()}
    assert len(counts) == 1
    assert counts.pop() >= 1
    assert all(np.array(taken).min() > 0 for taken in turns.microseconds.values())


def test_timings_go_on_until_two_halves_and_the_layout_agree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def timed(first: Block, second: Block) -> Any:
        class Replayed:
            def __init__(self, *_: object) -> None:
                self.microseconds: dict[int, list[float]] = {width: [] for width in WIDTHS}

            def take(self, seconds: float) -> None:
                for width, taken in self.microseconds.items():
                    taken += [first.microseconds[width], second.microseconds[width]]

        return Replayed

    request = Request(numbers="float", session=SESSION)
    for first, second, padded, settled, turns in (
        (block_kit.BLOCKED, block_kit.BLOCKED, block_kit.BLOCKED.padded, True, 2),
        (block_kit.PLAIN, block_kit.PLAIN, {}, True, 2),
        (block_kit.BLOCKED, block_kit.PLAIN, {}, False, 2 * block_timing.TRIES),
        (block_kit.PLAIN, block_kit.PLAIN, block_kit.BLOCKED.padded, False, 2 * block_timing.TRIES),
    ):
        monkeypatch.setattr(block_timing, "Turns", timed(first, second))
        monkeypatch.setattr(module, "row_of_convolutions", lambda width, numbers: width)
        monkeypatch.setattr(
            block_timing, "padded_width", lambda width, *_, padded=padded: padded.get(width)
        )
        found = module.run(request, tmp_path, lambda event: None)
        assert (found.settled, found.turns, found.padded) == (settled, turns, padded)


def test_widths_are_timed_alone_on_the_host_and_on_the_cores_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = (min(affinity()),)
    seen: list[tuple[tuple[int, ...], bool]] = []

    class Watching(Turns):
        def take(self, seconds: float) -> None:
            for _ in range(2):  # each of both halves has a turn
                super().take(0.02)
            seen.append((affinity(), (tmp_path / HOLDER_FILE).exists()))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fingerprint, "core_classes", lambda: {"little": one})
    monkeypatch.setattr(block_timing, "Turns", Watching)
    before = affinity()
    request = Request(numbers="float", session=SESSION, cores="little")
    found = module.run(request, tmp_path, lambda event: None)
    assert found.turns >= 2
    assert set(seen) == {(one, True)}
    assert affinity() == before


def test_a_settled_block_is_remembered_per_host_and_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    answer = block_kit.BLOCKED

    def measured(step: str, request: Request, *_: object, **__: object) -> dict[str, Any]:
        asked.append((step, request.numbers, request.session.graph_level))
        return answer.model_dump(mode="json")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remembered, "run_child", measured)
    default, other = LatencyConfig(), LatencyConfig(graph_level="extended")
    for _ in range(2):
        assert measure_block(default) == block_kit.BLOCKED
        assert measure_block(other) == block_kit.BLOCKED
        measure_block(default, "int8")
    expected = [("block", "float", "all"), ("block", "float", "extended"), ("block", "int8", "all")]
    assert asked == expected
    for memory in tmp_path.glob("prunebench-block-*.json"):
        memory.write_text("{}")
    answer = block_kit.BLOCKED.model_copy(update={"settled": False})
    for _ in range(2):
        assert not measure_block(default).settled
    assert len(asked) == 5


def test_the_block_is_told_with_what_says_so() -> None:
    m = Messages()
    assert tell_block(block_kit.BLOCKED, m) == (
        "Widths become multiples of 16: timed here in float, 40 channels take 99% of the time of "
        "48, for 69% of the arithmetic; onnxruntime runs 36 as 48."
    )
    assert tell_block(block_kit.PLAIN, m) == (
        "Widths may be any: timed here in float, 47 channels take 98% of the time of 48, for 96% "
        "of the arithmetic; onnxruntime lays none of them out in blocks."
    )
    doubtful = block_kit.INT8.model_copy(update={"settled": False})
    assert "40 channels take 86%" in tell_block(doubtful, m)
    assert tell_block(doubtful, m).endswith("or set prune.round_to.")
    assert "16의 배수" in tell_block(block_kit.BLOCKED, Messages("ko"))
