"""Time a candidate network, or its INT8 file, beside the baseline, here or on another device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.common.records import Integers, sha256_of
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
    ``config`` the first thread count and the session options are used. Exported files and samples
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
        update |= {"rounds_min": ROUNDS, "rounds_max": ROUNDS, "soak_minutes": 0.0}
        self._config = config.model_copy(update=update)
        self._folder, self._calibration, self._there = folder, calibration, there
        self._integers = integers or integers_of(cpu_flags())
        self._baseline = self._exported(load_checkpoint(checkpoint), "baseline")
        self._timed = 0

    def candidate(self, kept: Mapping[str, int], round_to: int | None) -> Path:
        """Export the network at these widths; which channels stay does not change its speed."""
        network = load_checkpoint(self._checkpoint)
        narrow(open_network(network, ignore=self._ignore), kept, round_to=round_to)
        self._timed += 1
        exported = self._exported(network, f"candidate-{self._timed}")
        return self._quantized(exported) if self._calibration else exported

    def time(self, candidate: Path, tell: Callable[[str], None]) -> Timed:
        """Measure a candidate beside the baseline; here that holds the host's measuring lock.

        ``tell`` receives a sentence where somebody else measures, and what a device says.

        Raises:
            StepError: A measuring process failed, or the device did.
        """
        targets = [Target(path.stem, path, sha256_of(path)) for path in (self._baseline, candidate)]
        shared = {"realtime_fps": 1.0, "imgsz": self._imgsz, "nc": 1, "seed": self._timed}
        samples, throttled = self._samples(targets, shared, tell)
        # One count of threads: that asked for, or of a class of cores what it has.
        medians = {name: found for (name, _), found in round_medians(samples, "model").items()}
        base, other = (medians[target.name] for target in targets)
        return Timed(
            ratio=ratio_interval(other, base, LEVEL),
            latency_ms=float(np.median([other[r] for r in other.keys() & base.keys()])),
            throttled=throttled,
        )

    def _samples(
        self, targets: Sequence[Target], shared: dict[str, Any], tell: Callable[[str], None]
    ) -> tuple[list[Sample], bool]:
        """Samples of both files, and whether the CPU was throttled meanwhile."""
        if self._there is not None:
            from prunebench.measuring.remote.asking import device_at

            settings = self._config.model_dump(mode="json")
            with device_at(self._there, settings, tell) as device:
                return device.rounds(targets, shared), device.throttled
        folder = self._folder / f"{targets[-1].name}-latency"
        result = measure(
            targets,
            (),
            self._config,
            **shared,
            folder=folder,
            who="the search for a pruning target",
            on_event=lambda event: tell(event.what) if isinstance(event, Waiting) else None,
        )
        throttled = any(noise.kind == "throttled" for noise in result.noise)
        return read_samples(folder / result.samples.path), throttled

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
