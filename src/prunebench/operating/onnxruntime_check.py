"""Is a changed onnxruntime the reason for a slowdown?

More than a library changes in days. So a version is named as the suspect only where both can be
installed side by side and, measured in turns on the same file, the later one is slower.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from prunebench.common.errors import InputError, StepError
from prunebench.common.records import Interval, Record
from prunebench.common.text import percent
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.history.compare import RunChange, RunComparison
from prunebench.results.run_folder import read_run_config, read_variants
from prunebench.steps.events import Emit, Stage

LIBRARY = "onnxruntime"


class Suspicion(Record):
    """What measuring a file under the versions of the earlier and the later run says.

    ``slower`` is how much longer an inference takes under ``after``, in percent, and ``shown``
    whether the two are shown to differ.
    """

    variant: str
    threads: int
    before: str
    after: str
    slower: Interval
    shown: bool

    @property
    def suspect(self) -> bool:
        """Whether an inference is shown to take longer under ``after``."""
        return self.shown and self.slower.estimate > 0


def suspect_onnxruntime(
    comparison: RunComparison, run: Path, work: Path, emit: Emit
) -> tuple[Suspicion, ...]:
    """Measure every file that became slower under the versions of both runs, if those differ.

    ``run`` is the later one's folder; ``work`` is for the installed versions and the raw samples.
    Gives one for each variant and thread count that is shown to be slower with the same file.

    Raises:
        InputError: A version cannot be installed here, or a file is gone.
        StepError: A version that was installed is not the one that ran.
    """
    before, after = comparison.onnxruntime
    slower = [c for c in comparison.changes if c.verdict == "slower" and c.same_file]
    if before == after or not slower:
        return ()
    folders = {one: installed(one, work / LIBRARY, emit) for one in (before, after)}
    found: list[Suspicion] = []
    for threads in sorted({change.threads for change in slower}):
        alike = [change for change in slower if change.threads == threads]
        found += _measured(alike, folders, run, work / f"{threads}-threads", emit)
    return tuple(found)


def installed(wanted: str, root: Path, emit: Emit) -> Path | None:
    """Folder to import a version of onnxruntime from; ``None``: the one that is installed."""
    if wanted == version(LIBRARY):
        return None
    folder = root / wanted
    if folder.is_dir():
        return folder
    emit(Stage(what=f"installing {LIBRARY} {wanted} beside the present one"))
    partial = root / f".{wanted}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", str(partial), f"{LIBRARY}=={wanted}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "no output")
        raise InputError(
            f"{LIBRARY} {wanted} cannot be installed beside {version(LIBRARY)} ({last}), so "
            "whether the version is the reason cannot be told"
        )
    partial.rename(folder)
    return folder


def _measured(
    changes: Sequence[RunChange],
    folders: Mapping[str, Path | None],
    run: Path,
    work: Path,
    emit: Emit,
) -> Iterator[Suspicion]:
    """Measure the files of one thread count under both versions, in turns."""
    exported = {variant.name: variant.exported for variant in read_variants(run)}
    targets: list[Target] = []
    for change in changes:
        made = exported.get(change.variant)
        if made is None:
            raise InputError(f"the run has no ONNX file of {change.variant}", where=run)
        path, sha256 = run / made.onnx.path, made.onnx.sha256
        targets += [
            Target(_title(change.variant, one), path, sha256, packages=packages, imgsz=made.imgsz)
            for one, packages in folders.items()
        ]
    config, threads = read_run_config(run), changes[0].threads
    pairs = [tuple(_title(change.variant, one) for one in folders) for change in changes]
    result = measure(
        targets,
        [],
        config.latency.model_copy(update={"threads": (threads,), "soak_minutes": 0.0}),
        realtime_fps=config.ranking.realtime_fps,
        imgsz=config.image.hw,
        nc=1,
        seed=config.seed,
        folder=work,
        who=f"{LIBRARY} in two versions",
        on_event=emit,
        contested=lambda first, second: (first, second) in pairs or (second, first) in pairs,
    )
    for sample in read_samples(work / result.samples.path):
        name, ran = sample.variant, sample.session[LIBRARY]
        if name in result.variants and not name.endswith(f" {ran}"):
            raise StepError("suspect", f"{name}: it ran under {ran}")
    for change, names in zip(changes, pairs, strict=True):
        judged = next(p for p in result.pairs if (p.first, p.second) == names)
        failed = next((result.failures[name] for name in names if name in result.failures), None)
        if judged.ratio is None or failed is not None:
            raise StepError("suspect", failed or "too few rounds were measured")
        before, after = folders
        yield Suspicion(
            variant=change.variant,
            threads=threads,
            before=before,
            after=after,
            # The pair's ratio is the earlier version's time by the later one's.
            slower=Interval(
                estimate=100 * (1 / judged.ratio.estimate - 1),
                low=100 * (1 / judged.ratio.high - 1),
                high=100 * (1 / judged.ratio.low - 1),
                level=judged.ratio.level,
            ),
            shown=judged.state == "told apart",
        )


def _title(variant: str, library: str) -> str:
    return f"{variant}, {LIBRARY} {library}"


def suspicion_sentence(found: Suspicion) -> str:
    """What measuring a file under both versions says, in words."""
    file, before, after = f"the file of {found.variant}", found.before, found.after
    if found.suspect:
        shown = percent(found.slower)
        return f"{LIBRARY} {after} is the suspect: it runs {file} slower than {before} by {shown}."
    if found.shown:
        text = f"it runs {file} faster than {before}"
    else:
        text = f"it and {before} cannot be told apart on {file}"
    signed = percent(found.slower, signed=True)
    return f"{LIBRARY} {after} is not the suspect: {text} (difference {signed})."
