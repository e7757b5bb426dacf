"""Step ``convert``: an ONNX file as another runtime takes it, compared with what it was made from.

OpenVINO reads the ONNX file itself. pnnx, ncnn's converter, MNN's and ours for LiteRT read it too,
so that what runs elsewhere has the very weights and rewriting of what onnxruntime runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from prunebench.common.errors import StepError
from prunebench.common.files import place
from prunebench.common.records import FileRef, InRuntime, Parity, Record, Runtime
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage

HEAD = ("task", "kpt_shape")  # Ultralytics' entries of the metadata that say what outputs mean.
COARSE_BOX = 0.1  # Of the letterbox's longer side.
COARSE_SCORE = 0.1
"""What 16 bits or integers may differ by: beyond it an operator is another one, and what is within
it shows in the accuracy, which is measured in the runtime itself.
"""


class Request(Record):
    """Input of the step; files are absolute paths.

    ``imgsz`` is (height, width), both tolerances are for a runtime that computes in float32,
    ``integers``: the file computes in INT8.
    """

    onnx: str
    runtime: Runtime
    imgsz: tuple[int, int]
    classes: int
    images: tuple[str, ...]
    box_tolerance_px: float
    score_tolerance: float
    integers: bool
    session: SessionSettings


class Converted(Record):
    """A file (``onnx``, whatever its format) for a runtime, and its differences from the ONNX's."""

    onnx: FileRef
    parity: Parity
    runtime: InRuntime


def run(request: Request, workdir: Path, emit: Emit) -> Converted:
    """Convert a file and compare both on real images; StepError where it cannot be converted."""
    from prunebench.measuring.runtimes.opening import SUFFIX

    source, suffix = Path(request.onnx), SUFFIX[request.runtime.name]
    target = workdir / f"model{suffix}"
    emit(Stage(what=f"converting for {request.runtime.name}"))
    if suffix == source.suffix:
        place(source, target)
    else:
        with tempfile.TemporaryDirectory(dir=workdir, prefix=".convert.") as folder:
            convert = {".ncnn": to_ncnn, ".mnn": to_mnn, ".tflite": to_litert}[suffix]
            convert(source, Path(folder)).replace(target)
    emit(Stage(what=f"comparing on {len(request.images)} images"))
    parity, runtime = compare(target, request)
    return Converted(onnx=FileRef.of(target, workdir), parity=parity, runtime=runtime)


def to_ncnn(source: Path, folder: Path) -> Path:
    """By pnnx: an archive of the two files that it makes, weights in float32."""
    from prunebench.measuring.runtimes.on_ncnn import BIN, PARAM

    place(source, folder / "model.onnx")
    # The program itself: the module of this name imports torch.
    program = str(distribution("pnnx").locate_file("pnnx/pnnx"))
    _run([program, "model.onnx", "fp16=0"], folder)
    packed = folder / "packed"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in (PARAM, BIN):
            # Without the time, so that the same file gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    return packed


def to_mnn(source: Path, folder: Path) -> Path:
    """By MNN's converter, weights in float32."""
    place(source, folder / "model.onnx")
    # Not by its script: that has pip install what it reports every conversion to its makers with.
    code = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
    files = ["--modelFile", "model.onnx", "--MNNModel", "model.mnn"]
    _run([sys.executable, "-c", code, "-f", "ONNX", *files], folder)
    return folder / "model.mnn"


def to_litert(source: Path, folder: Path) -> Path:
    """By a converter of ours: those of others install what cannot stand beside Prefect."""
    from prunebench.variants.tflite.operators import to_tflite

    made = folder / "model.tflite"
    made.write_bytes(to_tflite(source))
    return made


def _run(command: list[str], folder: Path) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(ended.stdout, ended.stderr, file=sys.stderr)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        reason = f"its converter exited with {ended.returncode} ({last})"
        raise StepError("convert", reason)


def compare(converted: Path, request: Request) -> tuple[Parity, InRuntime]:
    """Every raw prediction compared with onnxruntime's, and what the runtime says of itself."""
    import numpy as np

    from prunebench.measuring.inference import OnnxNetwork, read_input

    imgsz, session = request.imgsz, request.session
    expected = OnnxNetwork(Path(request.onnx), imgsz, session)
    head = {key: expected.metadata[key] for key in HEAD if key in expected.metadata}
    runtime = request.runtime.model_copy(update={"head": head})
    network = OnnxNetwork(converted, imgsz, session, runtime=runtime)
    worst = np.zeros(2)
    for image in request.images:
        tensor, _, _ = read_input(Path(image), imgsz, expected.head)
        actual, wanted = network(tensor), expected(tensor)
        shapes = [[list(item.shape) for item in items] for items in (actual, wanted)]
        if shapes[0] != shapes[1]:
            raise StepError("convert", f"it predicts {shapes[0]} instead of {shapes[1]}")
        # A NaN has to survive.
        both = expected.head.comparable(actual, wanted, request.classes)
        worst = np.maximum(worst, expected.head.differences(*both, request.classes))
    precision = network.describe()["precision"]
    coarse = request.integers or precision != "float32"
    parity = Parity(
        images=len(request.images),
        max_box_px=float(worst[0]),
        max_score=float(worst[1]),
        box_tolerance_px=COARSE_BOX * max(imgsz) if coarse else request.box_tolerance_px,
        score_tolerance=COARSE_SCORE if coarse else request.score_tolerance,
    )
    return parity, InRuntime(**runtime.model_dump(), precision=precision)
