"""What a candidate is exported as, which of its times are taken, and for how many rounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prunebench.config.exporting import ExportHead
from prunebench.config.sections import LatencyConfig
from prunebench.variants.pruning import timing
from prunebench.variants.pruning.search import ROUNDS, Timed
from prunebench.variants.pruning.timing import Stopwatch

ROUND_S = 10.0


class Host:
    """Baselines of 8 ms and candidates of 4 ms whose times vary by a share; what was asked of it.

    Eight threads are asked for on little cores, of which there are four.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, noise: float) -> None:
        self.exported: list[ExportHead] = []
        self.rounds: list[int] = []
        self._folder, self._noise = folder, noise
        self._rng = np.random.default_rng(0)
        patch.setattr(timing, "load_checkpoint", lambda path: None)
        patch.setattr(timing, "save_checkpoint", lambda *given: None)
        patch.setattr(timing, "export_onnx", self._export)
        patch.setattr(Stopwatch, "_measuring", self._measuring)
        patch.setattr(timing, "round_medians", self._medians)

    def time(
        self,
        is_told: Callable[[Timed], bool] = lambda timed: False,
        head: ExportHead = "one_to_many",
        **settings: Any,
    ) -> Timed:
        config = LatencyConfig(threads=(8,), cores=("little",), **settings)
        checkpoint = self._folder / "model.pt"
        watch = Stopwatch(checkpoint, (), (32, 32), 17, (), config, self._folder, head=head)
        candidate = self._folder / "candidate-1.onnx"
        candidate.write_bytes(b"another")
        return watch.time(candidate, is_told, lambda said: None)

    def _export(self, checkpoint: Path, folder: Path, imgsz: object, **given: Any) -> Path:
        self.exported.append(given["head"])
        (folder / "model.onnx").write_bytes(b"a network")
        return folder / "model.onnx"

    @contextlib.contextmanager
    def _measuring(self, targets: object, tell: object) -> Iterator[Any]:
        yield self._measured

    def _measured(self, rounds: int) -> tuple[list[Any], bool]:
        self.rounds.append(rounds)
        return [SimpleNamespace(elapsed_s=ROUND_S)] * rounds, len(self.rounds) == 2

    def _medians(self, samples: list[Any], kind: str) -> dict[tuple[str, int], dict[int, float]]:
        def varied(ms: float) -> dict[int, float]:
            factors = np.exp(self._rng.normal(0, self._noise, len(samples)))
            return dict(enumerate(ms * factors))

        return {("baseline", 4): varied(8.0), ("candidate-1", 4): varied(4.0)}


@pytest.mark.parametrize("head", ["one_to_many", "one_to_one"])
def test_candidates_have_the_head_of_the_variants_and_the_threads_of_the_cores(
    head: ExportHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch, tmp_path, 0.0)
    found = host.time(lambda timed: True, head)
    assert host.exported == [head]
    assert host.rounds == [ROUNDS]
    assert found.ratio.estimate == pytest.approx(0.5)
    assert found.latency_ms.estimate == pytest.approx(4.0)


def test_a_candidate_is_measured_on_until_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch, tmp_path, 0.05)
    widths: list[float] = []

    def is_told(timed: Timed) -> bool:
        widths.append(timed.ratio.high / timed.ratio.low)
        return len(widths) == 3

    found = host.time(is_told)
    assert host.rounds == [ROUNDS, ROUNDS, 2 * ROUNDS]
    # Four times the rounds, and Student's t with more of them: less than half as wide.
    assert widths[-1] - 1 < (widths[0] - 1) / 2
    assert found.ratio.high / found.ratio.low == widths[-1]
    assert found.throttled  # In one part of them.


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        ({"rounds_max": 20}, [6, 6, 8]),
        ({"rounds_min": 3, "rounds_max": 3}, [6]),
        ({"rounds_max": 1000, "budget_minutes": 13 * ROUND_S / 60}, [6, 6, 12]),
    ],
)
def test_what_is_never_told_ends_with_the_rounds_or_the_minutes(
    settings: dict[str, Any], rounds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch, tmp_path, 0.05)
    host.time(**settings)
    assert host.rounds == rounds
