"""What a kit measured on a device, checked and made a column of the run it was made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef
from prunebench.common.text import listed, slug
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.measuring.agent import SAMPLES
from prunebench.measuring.host.emulation import IN_WORDS
from prunebench.measuring.latency.log import lines_of
from prunebench.measuring.latency.noise import sentinel_report
from prunebench.measuring.latency.raw import SENTINEL, Kind, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.stopping import judge_pairs, round_medians
from prunebench.measuring.remote.answers import KitResults, read_results
from prunebench.operating.devices import write_devices
from prunebench.operating.kit.make import content_of
from prunebench.operating.rebenchmark import open_rebenchmark, read_source
from prunebench.results.devices import Device, read_devices
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store
from prunebench.results.outcome import LATENCY_FILE, read_latency
from prunebench.results.run_folder import DEVICES_FOLDER, ENVIRONMENT_FILE, LATENCY_FOLDER


def add_results(folder: Path, archive: Path, name: str | None = None) -> Device:
    """Make a results file a column of the run its kit was made of; it is written to the run."""
    column = column_of(folder, archive, name)
    if column not in read_devices(folder):
        keep_column(folder, column)
    return column


def keep_column(folder: Path, column: Device) -> None:
    """Write a device's column, in place of what there is of it, and the report anew."""
    others = [one for one in read_devices(folder) if one.name != column.name]
    write_devices(folder, [*others, column])


def column_of(folder: Path, archive: Path, name: str | None = None) -> Device:
    """What a results file says of the run its kit was made of, ranked and in the history.

    ``name`` of the device is its host name by default. An emulator's times are not shown, and go
    into no history. InputError where the file is damaged, or of
    other files or another protocol than the run's.
    """
    experiment, variants = read_source(folder)
    found, samples = read_results(archive)
    device = device_name(name or slug(found.device) or "device")
    _check_protocol(found, content_of(experiment, variants).manifest["protocol"], folder, archive)
    if found.emulator:
        why = IN_WORDS.format(found.emulator)
        return Device(name=device, fingerprint=found.fingerprint, failure=why)
    digest = hashlib.sha256(lines_of(samples).encode()).hexdigest()
    for known in read_devices(folder):
        measured = folder / DEVICES_FOLDER / device / str(known.run)
        there = known.name == device and known.run is not None and measured.is_dir()
        if there and read_latency(measured).samples.sha256 == digest:
            return known
    return _measured(folder, device, found, samples)


def device_name(name: str) -> str:
    """A name that may be a column's; InputError where it may not."""
    try:
        return Device(name=name).name
    except ValidationError:
        fix = "use lower case letters, digits and dashes"
        raise InputError("it is not the name of a device", where=name, fix=fix) from None


def _check_protocol(found: KitResults, own: dict[str, Any], folder: Path, archive: Path) -> None:
    theirs = found.protocol
    fix = "make a kit of this run and measure with it"
    if found.run != folder.name:
        raise InputError(f"the results are of run {found.run}, not of this", where=archive, fix=fix)
    changed = [
        k for k in own["variants"] if theirs.get("variants", {}).get(k) != own["variants"][k]
    ]
    if changed:
        what = f"the device measured other files than this run's: {listed(changed)}"
        raise InputError(what, where=archive, fix=fix)
    if differing := sorted(key for key in {*own, *theirs} if own.get(key) != theirs.get(key)):
        what = f"the device measured by another protocol: {listed(differing)}"
        raise InputError(what, where=archive, fix=fix)


def _measured(folder: Path, device: str, found: KitResults, samples: list[Sample]) -> Device:
    """The run folder of what a device measured, ranked and recorded."""
    earlier, variants = open_rebenchmark(folder, home=folder / DEVICES_FOLDER / device)
    made = earlier.run_folder
    # Its history is that of the run it belongs to.
    experiment = earlier.model_copy(update={"out": str(folder.parent)})
    home = made / LATENCY_FOLDER
    write_atomically(home / SAMPLES, lines_of(samples))
    latency = _latency(experiment, found, samples, FileRef.of(home / SAMPLES, home))
    write_atomically(home / LATENCY_FILE, latency.model_dump_json(indent=2))
    host = found.fingerprint
    versions = {name: getattr(host, name) for name in ("onnxruntime", "numpy", "opencv")}
    said = {"python": host.python, "platform": host.kernel, "versions": versions}
    write_atomically(made / ENVIRONMENT_FILE, json.dumps(said, indent=2))
    ranking = rank_run(experiment, variants, latency)
    with Store(experiment.history_url) as store:
        record_run(store, made)
    return Device(
        name=device, run=made.name, fingerprint=host, ranking=ranking, model_only=not found.frames
    )


def _latency(
    experiment: Experiment, found: KitResults, samples: list[Sample], log: FileRef
) -> LatencyResult:
    protocol, config = found.protocol, experiment.config
    kind: Kind = "end_to_end" if found.frames else "model"
    names = [name for name in protocol["variants"] if name not in found.failures]
    timed = sum(sample.variant != SENTINEL for sample in samples)
    paced = config.latency.paced_seconds if config.latency.paced else 0.0
    each = config.latency.seconds * (2 if found.frames else 1) + (paced if found.frames else 0)
    return LatencyResult(
        settings=config.latency,
        realtime_fps=protocol["realtime_fps"],
        imgsz=protocol["imgsz"],
        nc=protocol["nc"],
        seed=protocol["seed"],
        fingerprint=found.fingerprint,
        threads=found.threads,
        variants=protocol["variants"],
        failures=found.failures,
        kind=kind,
        rounds=1 + max(sample.round for sample in samples),
        stopped=found.stopped,
        pairs=judge_pairs(
            round_medians(samples, kind),
            names,
            found.threads,
            config.latency.smallest_difference_percent,
            None,
        ),
        wall_s=sum(sample.elapsed_s for sample in samples),
        asked_s=each * timed,
        load_average=found.load_average,
        sentinel=sentinel_report(samples),
        noise=found.noise,
        samples=log,
    )
