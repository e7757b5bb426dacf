"""Step ``export``: an ONNX file that computes what the checkpoint does.

The file has a static shape, batch 1 and the raw head outputs (no NMS inside), as Ultralytics'
own export writes it. Of a network with two heads (YOLOv10, YOLO26) one is exported: by default, as
Ultralytics does, the one-to-many head; the one-to-one head ends in finished detections.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.errors import ParityError, StepError
from prunebench.common.files import place, write_atomically
from prunebench.common.records import Exported, FileRef, Parity, Record
from prunebench.common.text import first_line
from prunebench.common.ultralytics_files import plainly_named
from prunebench.config.exporting import ExportHead
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage
from prunebench.variants.provenance import HEAD_KEY, PROVENANCE_KEY, Provenance

if TYPE_CHECKING:
    from prunebench.variants.checkpoint import Network

ONNX_FILE = "model.onnx"


class Request(Record):
    """Input of the step; files are absolute paths.

    Attributes:
        imgsz: (height, width) of the static input in pixels.
        passes: Those that rewrite its graph into one that computes the same in less time.
        head: Which head of a network that has two.
        images: The outputs are compared on them.
        box_tolerance_px: Largest difference of a box edge, in pixels of the letterbox.
        thresholds: What the model is deployed with, by Ultralytics' names of the arguments; kept
            in the file's metadata.
        provenance: What the checkpoint is and was made from; kept there too.
    """

    checkpoint: str
    imgsz: tuple[int, int]
    opset: int
    passes: tuple[str, ...] = ()
    head: ExportHead = "one_to_many"
    images: tuple[str, ...]
    box_tolerance_px: float
    score_tolerance: float
    thresholds: dict[str, float]
    session: SessionSettings
    provenance: Provenance | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Exported:
    """Export a checkpoint and compare both on real images."""
    from prunebench.variants.checkpoint import has_two_heads, load_checkpoint
    from prunebench.variants.rewriting.apply import rewrite_file

    emit(Stage(what="exporting to ONNX"))
    checkpoint = Path(request.checkpoint)
    network = load_checkpoint(checkpoint)
    metadata = {name: f"{value:g}" for name, value in request.thresholds.items()}
    head = request.head if has_two_heads(network) else None
    if head is not None:
        metadata[HEAD_KEY] = json.dumps(head)
    if request.provenance is not None:
        metadata[PROVENANCE_KEY] = request.provenance.model_dump_json()
    with tempfile.TemporaryDirectory(dir=workdir, prefix=".export.") as folder:
        exported = export_onnx(
            checkpoint,
            Path(folder),
            request.imgsz,
            opset=request.opset,
            head=head,
            metadata=metadata,
        )
        rewriting = rewrite_file(exported, request.passes) if request.passes else None
        emit(Stage(what=f"comparing on {len(request.images)} images"))
        parity = compare(network, exported, request)
        target = workdir / ONNX_FILE
        exported.replace(target)
    return Exported(
        onnx=FileRef.of(target, workdir),
        parity=parity,
        opset=request.opset,
        imgsz=request.imgsz,
        rewriting=rewriting,
        head=head,
    )


def export_onnx(
    checkpoint: Path,
    folder: Path,
    imgsz: tuple[int, int],
    *,
    opset: int,
    head: ExportHead | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Export through Ultralytics: static shape of (height, width) pixels, batch 1, simplified.

    The same checkpoint gives the same bytes: the time of the export is left out of the metadata,
    beside which ``metadata`` is put. ``folder`` is empty and on the file system of the final file.

    Raises:
        StepError: Ultralytics cannot export it.
    """
    import onnx
    from ultralytics.models import YOLO

    # Ultralytics writes beside the checkpoint, so it gets one that lies in our own folder.
    copy = folder / "model.pt"
    place(checkpoint, copy)
    try:
        with plainly_named(folder) as (plain,):
            written = YOLO(plain / copy.name).export(
                format="onnx",
                imgsz=list(imgsz),
                opset=opset,
                simplify=True,
                dynamic=False,
                batch=1,
                # False: the head that needs no NMS, if there is one.
                nms=False if head == "one_to_one" else None,
            )
            model = onnx.load(written)
    except Exception as error:  # torch, onnx and Ultralytics' asserts each raise their own
        raise StepError(
            "export", f"Ultralytics could not export it: {first_line(error)}"
        ) from error
    entries = {entry.key: entry.value for entry in model.metadata_props if entry.key != "date"}
    onnx.helper.set_model_props(model, entries | dict(metadata or {}))
    target = folder / ONNX_FILE
    write_atomically(target, model.SerializeToString())
    return target


def compare(network: Network, onnx_file: Path, request: Request) -> Parity:
    """Compare every raw prediction of the checkpoint with the ONNX file's."""
    import numpy as np
    import torch

    from prunebench.measuring.inference import OnnxNetwork, read_input

    exported = OnnxNetwork(onnx_file, request.imgsz, request.session)
    classes, head = len(network.names), exported.head
    if request.head == "one_to_one":
        network.model[-1].end2end = True
    worst_box = worst_score = 0.0
    for image in request.images:
        tensor, _, _ = read_input(Path(image), request.imgsz, head)
        with torch.no_grad():
            outputs = network(torch.from_numpy(tensor))[0]
        # A segmentation network predicts mask prototypes beside the boxes.
        expected = [item.numpy() for item in (outputs if isinstance(outputs, tuple) else [outputs])]
        actual = exported(tensor)
        found, wanted = ([list(item.shape) for item in items] for items in (actual, expected))
        if found != wanted:
            raise ParityError("export", f"the file predicts {found} instead of {wanted}")
        box, score = head.differences(*head.comparable(actual, expected, classes), classes)
        # Not max(): a NaN on either side has to survive and to fail the check below.
        worst_box = float(np.maximum(worst_box, box))
        worst_score = float(np.maximum(worst_score, score))
    parity = Parity(
        images=len(request.images),
        max_box_px=worst_box,
        max_score=worst_score,
        box_tolerance_px=request.box_tolerance_px,
        score_tolerance=request.score_tolerance,
    )
    if not parity.kept:
        reason = f"the ONNX file differs from the checkpoint {parity.in_words}"
        raise ParityError("export", reason)
    return parity
