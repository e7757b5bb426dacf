"""Time a candidate network, or its INT8 file, beside the baseline, here or on another device."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.common.records import Integers, sha256_of
from prunebench.common.statistics import locate
from prunebench.config.exporting import ExportHead
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import cpu_flags
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.remote.there import There
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Waiting
from prunebench.variants.checkpoint import Network, load_checkpoint, save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.on_device import integers_of
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.pruning.pruner import narrow, open_network
from prunebench.variants.pruning.search import ROUNDS, SECONDS, Timed
from prunebench.variants.rewriting.apply import rewrite_file

if TYPE_CHECKING:
    from prunebench.measuring.latency.raw import Sample

LEVEL = 0.95


class Stopwatch:
    """Times networks of given widths, cut from one unpruned checkpoint.

    ``ignore`` names modules whose output widths stay, ``imgsz`` is (height, width) in pixels; of
    ``config`` the first thread count and the session options are used, and how many rounds and
    minutes at most. Exported files and samples
    go to ``folder``. Where there are images in ``calibration``, candidates are INT8 files, every
    layer on integers. They are timed on the device ``there``, where one is given.
    """

    def __init__(
        self,
        checkpoint: Path,
        ignore: tuple[str, ...],
        imgsz: tuple[int, int],
        opset: int,
        passes: tuple[str, ...],
        config: LatencyConfig,
        folder: Path,
        calibration: Sequence[Path] = (),
        there: There | None = None,
        integers: Integers | None = None,
        head: ExportHead = "one_to_many",
    ) -> None:
        self._checkpoint, self._ignore = checkpoint, ignore
        self._imgsz, self._opset, self._passes, self._head = imgsz, opset, passes, head
        update = {"threads": (config.threads or (1,))[:1], "seconds": SECONDS, "paced": False}
        self._config = config.model_copy(update={**update, "soak_minutes": 0.0})
        self._most_s = 60 * config.budget_minutes
        self._folder, self._calibration, self._there = folder, calibration, there
        self._integers = integers or integers_of(cpu_flags())
        self._baseline = self._exported(load_checkpoint(checkpoint), "baseline")
        self._made = self._asked = 0

    def candidate(self, kept: Mapping[str, int], round_to: int | None) -> Path:
        """Export the network at these widths; which channels stay does not change its speed."""
        network = load_checkpoint(self._checkpoint)
        narrow(open_network(network, ignore=self._ignore), kept, round_to=round_to)
        self._made += 1
        exported = self._exported(network, f"candidate-{self._made}")
        return self._quantized(exported) if self._calibration else exported

    def time(
        self, candidate: Path, is_told: Callable[[Timed], bool], tell: Callable[[str], None]
    ) -> Timed:
        """Measure a candidate beside the baseline; here that holds the host's measuring lock.

        Once more for as many rounds as were done until it ``is_told``, ``latency.rounds_max`` are
        done or the searching took ``latency.budget_minutes``. ``tell`` receives a sentence where
        somebody else measures, and what a device says.

        Raises:
            StepError: A measuring process failed, or the device did.
        """
        targets = [Target(path.stem, path, sha256_of(path)) for path in (self._baseline, candidate)]
        base: dict[int, float] = {}
        other: dict[int, float] = {}
        done, throttled = 0, False
        with self._measuring(targets, tell) as measured:
            while True:
                more = min(done, self._config.rounds_max - done) if done else ROUNDS
                samples, was_throttled = measured(more)
                self._most_s -= sum(sample.elapsed_s for sample in samples)
                # One count of threads: that asked for, or of a class of cores what it has.
                medians = {name: ms for (name, _), ms in round_medians(samples, "model").items()}
                for known, target in zip((base, other), targets, strict=True):
                    known |= {done + index: ms for index, ms in medians[target.name].items()}
                done, throttled = done + more, throttled or was_throttled
                both = np.array([other[index] for index in sorted(other.keys() & base.keys())])
                timed = Timed(
                    ratio=ratio_interval(other, base, LEVEL),
                    latency_ms=locate(np.log(both)).ratio(LEVEL),
                    throttled=throttled,
                )
                if is_told(timed) or done >= self._config.rounds_max or self._most_s <= 0:
                    return timed

    @contextlib.contextmanager
    def _measuring(
        self, targets: Sequence[Target], tell: Callable[[str], None]
    ) -> Iterator[Callable[[int], tuple[list[Sample], bool]]]:
        """Gives what measures both files for some rounds, and whether the CPU was throttled."""
        shared: dict[str, Any] = {"realtime_fps": 1.0, "imgsz": self._imgsz, "nc": 1}
        with contextlib.ExitStack() as stack:
            if self._there is not None:
                from prunebench.measuring.remote.asking import device_at

                settings = self._config.model_dump(mode="json")
                device = stack.enter_context(device_at(self._there, settings, tell))

            def measured(rounds: int) -> tuple[list[Sample], bool]:
                self._asked += 1
                shared["seed"], number = self._asked, {"rounds_min": rounds, "rounds_max": rounds}
                if self._there is not None:
                    return device.rounds(targets, shared, **number), device.throttled
                folder = self._folder / f"latency-{self._asked}"
                result = measure(
                    targets,
                    (),
                    self._config.model_copy(update=number),
                    **shared,
                    folder=folder,
                    who="the search for a pruning target",
                    on_event=lambda event: tell(event.what) if isinstance(event, Waiting) else None,
                )
                was_throttled = any(noise.kind == "throttled" for noise in result.noise)
                return read_samples(folder / result.samples.path), was_throttled

            yield measured

    def _quantized(self, exported: Path) -> Path:
        session, work = SessionSettings.of(self._config), exported.with_suffix("")
        work.mkdir()
        quantizer = Quantizer(
            exported,
            self._imgsz,
            self._integers.activations,
            session,
            work,
            self._integers.narrow,
        )
        quantizer.calibrate(self._calibration, lambda event: None)
        return quantizer.write(exported.stem)

    def _exported(self, network: Network, name: str) -> Path:
        target = self._folder / f"{name}.onnx"
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".export.") as folder:
            path = Path(folder) / "network.pt"
            save_checkpoint(network, path, {})
            exported = export_onnx(
                path, Path(folder), self._imgsz, opset=self._opset, head=self._head
            )
            if self._passes:
                rewrite_file(exported, self._passes)
            exported.replace(target)
        return target
