"""Time a candidate network, or its INT8 file, beside the baseline, both exported, on this host."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from prunebench.common.records import Activations, sha256_of
from prunebench.config.exporting import Rewrite
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import cpu_flags
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Waiting
from prunebench.variants.checkpoint import Network, load_checkpoint, save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.pruning.pruner import narrow, open_network
from prunebench.variants.pruning.search import ROUNDS, SECONDS, Timed
from prunebench.variants.rewriting.apply import rewrite_file

LEVEL = 0.95


class Stopwatch:
    """Times networks of given widths, cut from one unpruned checkpoint.

    ``ignore`` names modules whose output widths stay, ``imgsz`` is (height, width) in pixels; of
    ``config`` the first thread count and the session options are used. Exported files and samples
    go to ``folder``. Where there are images in ``calibration``, candidates are INT8 files, every
    layer on integers.
    """

    def __init__(
        self,
        checkpoint: Path,
        ignore: tuple[str, ...],
        imgsz: tuple[int, int],
        opset: int,
        rewrite: Rewrite,
        config: LatencyConfig,
        folder: Path,
        calibration: Sequence[Path] = (),
    ) -> None:
        self._checkpoint, self._ignore = checkpoint, ignore
        self._imgsz, self._opset, self._rewrite = imgsz, opset, rewrite
        update = {"threads": (config.threads or (1,))[:1], "seconds": SECONDS, "paced": False}
        update |= {"rounds_min": ROUNDS, "rounds_max": ROUNDS, "soak_minutes": 0.0}
        self._config = config.model_copy(update=update)
        self._folder, self._calibration = folder, calibration
        self._baseline = self._exported(load_checkpoint(checkpoint), "baseline")
        self._timed = 0

    def candidate(self, kept: Mapping[str, int], round_to: int | None) -> Path:
        """Export the network at these widths; which channels stay does not change its speed."""
        network = load_checkpoint(self._checkpoint)
        narrow(open_network(network, ignore=self._ignore), kept, round_to=round_to)
        self._timed += 1
        exported = self._exported(network, f"candidate-{self._timed}")
        return self._quantized(exported) if self._calibration else exported

    def time(self, candidate: Path, waiting: Callable[[str], None]) -> Timed:
        """Measure a candidate beside the baseline; holds the host's measuring lock.

        ``waiting`` receives a sentence where somebody else measures.

        Raises:
            ChildFailed: A measuring process failed.
        """
        targets = [Target(path.stem, path, sha256_of(path)) for path in (self._baseline, candidate)]
        folder = self._folder / f"{candidate.stem}-latency"
        result = measure(
            targets,
            (),
            self._config,
            realtime_fps=1.0,
            imgsz=self._imgsz,
            nc=1,
            seed=self._timed,
            folder=folder,
            who="the search for a pruning target",
            on_event=lambda event: waiting(event.what) if isinstance(event, Waiting) else None,
        )
        medians = round_medians(read_samples(folder / result.samples.path), "model")
        base, other = (medians[target.name, result.threads[0]] for target in targets)
        return Timed(
            ratio=ratio_interval(other, base, LEVEL),
            latency_ms=float(np.median([other[r] for r in other.keys() & base.keys()])),
        )

    def _quantized(self, exported: Path) -> Path:
        session, work = SessionSettings.of(self._config), exported.with_suffix("")
        work.mkdir()
        activations: Activations = "s8" if "asimd" in cpu_flags() else "u8"
        quantizer = Quantizer(exported, self._imgsz, activations, session, work)
        quantizer.calibrate(self._calibration, lambda event: None)
        return quantizer.write(exported.stem)

    def _exported(self, network: Network, name: str) -> Path:
        target = self._folder / f"{name}.onnx"
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".export.") as folder:
            path = Path(folder) / "network.pt"
            save_checkpoint(network, path, {})
            exported = export_onnx(path, Path(folder), self._imgsz, opset=self._opset)
            if self._rewrite == "exact":
                rewrite_file(exported)
            exported.replace(target)
        return target
