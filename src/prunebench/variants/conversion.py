"""Step ``convert``: an ONNX file as another runtime takes it, compared with what it was made from.

OpenVINO reads the ONNX file itself. pnnx, ncnn's converter, MNN's and ours for LiteRT read it too,
so that what runs elsewhere has the very weights and rewriting of what onnxruntime runs.
NNCF quantizes it for OpenVINO.
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
from prunebench.common.records import FileRef, InRuntime, Parity, Quantization, Record, Runtime
from prunebench.measuring import accuracy
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage

HEAD = ("task", "kpt_shape")  # Ultralytics' entries of the metadata that say what outputs mean.
COARSE = 0.1
"""What 16 bits or integers may differ by in a score, and in a box edge as a share of the
letterbox's longer side: beyond it an operator is another one, and what is within it shows in the
accuracy, which is measured in the runtime itself.
"""

ON_PURPOSE = 1.0
"""As ``COARSE``, of what is quantized here: it is another network, and its accuracy is judged."""


class Judged(Record):
    """How NNCF's loss of accuracy is judged: as that of our own INT8 file (``int8/step.py``)."""

    names: dict[int, str]
    confidence: float
    iou: float
    max_det: int
    max_map50_loss: float
    sigmas: tuple[float, ...] = ()


class Request(Record):
    """Input of the step; files are absolute paths.

    ``imgsz`` is (height, width), both tolerances are for a runtime that computes in float32,
    ``integers``: the file computes in INT8. ``judged`` is set where NNCF quantizes it, with ranges
    from ``calibration`` and a loss of accuracy on ``validation``, which are labelled.
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
    calibration: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    judged: Judged | None = None


class Converted(Record):
    """A file (``onnx``, whatever its format) for a runtime, and its differences from the ONNX's.

    ``quantization`` is what was put on integers for it.
    """

    onnx: FileRef
    parity: Parity
    runtime: InRuntime
    quantization: Quantization | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Converted:
    """Convert a file and compare both on real images; StepError where it cannot be converted."""
    from prunebench.measuring.runtimes.opening import SUFFIX

    source, suffix = Path(request.onnx), SUFFIX[request.runtime.name]
    target = workdir / f"model{suffix}"
    quantization = None
    emit(Stage(what=f"converting for {request.runtime.name}"))
    if suffix == source.suffix:
        place(source, target)
    else:
        with tempfile.TemporaryDirectory(dir=workdir, prefix=".convert.") as folder:
            if request.judged is not None:
                made, quantization = by_nncf(request, request.judged, Path(folder), emit)
            else:
                convert = {".ncnn": to_ncnn, ".mnn": to_mnn, ".tflite": to_litert}[suffix]
                made = convert(source, Path(folder))
            made.replace(target)
    emit(Stage(what=f"comparing on {len(request.images)} images"))
    parity, runtime = compare(target, request)
    file = FileRef.of(target, workdir)
    return Converted(onnx=file, parity=parity, runtime=runtime, quantization=quantization)


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


def by_nncf(
    request: Request, judged: Judged, folder: Path, emit: Emit
) -> tuple[Path, Quantization]:
    """By NNCF, for OpenVINO: what it gives and what it put on integers."""
    from prunebench.variants.int8.nncf_file import quantized

    asked = accuracy.Request(
        onnx=request.onnx,
        images=request.validation,
        imgsz=request.imgsz,
        session=request.session,
        **judged.model_dump(exclude={"max_map50_loss"}),
    )
    return quantized(asked, request.calibration, judged.max_map50_loss, folder, emit)


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
    box, score = request.box_tolerance_px, request.score_tolerance
    if request.judged is not None or request.integers or precision != "float32":
        score = COARSE if request.judged is None else ON_PURPOSE
        box = score * max(imgsz)
    parity = Parity(
        images=len(request.images),
        max_box_px=float(worst[0]),
        max_score=float(worst[1]),
        box_tolerance_px=box,
        score_tolerance=score,
    )
    return parity, InRuntime(**runtime.model_dump(), precision=precision)
