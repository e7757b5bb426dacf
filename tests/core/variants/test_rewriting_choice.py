"""Which passes are applied on a host: by timings of all of them beside all but one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from prunebench.common.records import Interval
from prunebench.config.exporting import ExportConfig
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.block_timing import Turns
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_passes
from prunebench.variants.rewriting import choice
from prunebench.variants.rewriting.apply import PASSES, rewritten
from prunebench.variants.rewriting.choice import ALL, Passes, Request, passes_for
from prunebench.variants.rewriting.specimen import specimen

REQUEST = Request(imgsz=(32, 64), session=SessionSettings.of(LatencyConfig()))


def measured(**ratios: tuple[float, float, float]) -> Passes:
    return Passes(imgsz=(96, 160), faster={name: Interval(*ends) for name, ends in ratios.items()})


def test_every_pass_finds_its_places_in_what_is_timed() -> None:
    _, rewriting = rewritten(specimen((32, 64)))
    assert tuple(rewriting.done.values()) == (1, 1, 8, 2)
    assert not any(rewriting.unknown.values())
    assert rewriting.slower == ()


def test_a_pass_is_left_out_where_it_is_shown_to_be_slower_by_what_matters() -> None:
    found = measured(
        distribution=(1.1, 1.05, 1.15), halves=(0.9, 0.8, 0.98), upsampling=(0.97, 0.94, 1.0)
    )
    assert (found.applied, found.slower) == (("distribution", "upsampling"), ("halves",))
    assert measured(halves=(0.985, 0.98, 0.99)).slower == ()


def test_a_slower_pass_has_to_be_slower_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All passes take 1; without one, a file takes what is replayed, in each of two timings."""
    replayed: list[dict[str, float]] = []

    class Replayed:
        def __init__(self, files: Mapping[str, bytes], _: object) -> None:
            assert len(set(files.values())) == len(PASSES) + 1
            self.own = {ALL: 1.0, **dict.fromkeys(PASSES, 1.05), **replayed.pop(0)}
            self.microseconds: dict[str, list[float]] = {name: [] for name in files}

        def take(self, seconds: float) -> None:
            for name, taken in self.microseconds.items():
                taken += [self.own[name] * noise for noise in (0.999, 1.001)]

        def take_at_least(self, turns: int, seconds: float) -> None:
            for _ in range(turns // 2):
                self.take(seconds)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(choice, "Turns", Replayed)
    for timings, slower in (
        ([{}], ()),
        ([{"halves": 0.9}, {}], ()),
        ([{"halves": 0.9}, {"upsampling": 0.9}], ()),
        ([{"halves": 0.9, "upsampling": 0.9}, {"halves": 0.95}], ("halves",)),
    ):
        replayed[:] = timings
        found = choice.run(REQUEST, tmp_path, lambda event: None)
        assert (found.slower, replayed) == (slower, [])
    assert found.faster["halves"].estimate == pytest.approx(0.95)


def test_real_files_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Quick(Turns[str]):
        def take(self, seconds: float) -> None:
            super().take(0.02)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(choice, "Turns", Quick)
    found = choice.run(REQUEST, tmp_path, lambda event: None)
    assert list(found.faster) == list(PASSES)
    assert all(0 < ratio.low <= ratio.estimate <= ratio.high for ratio in found.faster.values())


def test_nothing_is_timed_where_nothing_is_rewritten() -> None:
    assert passes_for(ExportConfig(rewrite="none"), LatencyConfig(), (32, 64)) is None


def test_what_is_applied_and_what_is_left_out_is_told_with_its_factor() -> None:
    found = measured(distribution=(1.1, 1.05, 1.15), halves=(0.9, 0.8, 0.98))
    assert tell_passes(found, Messages()) == [
        "On the host that exported, YOLOv8n at 96x160 is so many times as fast with each rewriting "
        "as without it: distributions of box sides 1.10 [1.05, 1.15].",
        "Left out, since YOLOv8n at 96x160 is slower with it on the host that exported (times as "
        "fast): split convolutions 0.90 [0.80, 0.98].",
    ]
    assert "0.90 [0.80, 0.98]" in tell_passes(found, Messages("ko"))[1]
    assert len(tell_passes(measured(halves=(0.9, 0.8, 0.98)), Messages())) == 1
    # A classification has neither boxes nor anything upsampled.
    (told,) = tell_passes(found, Messages(metric="top1"))
    assert "split convolutions" in told
    assert not [word for word in ("box", "upsampled", ": ,") if word in told]
