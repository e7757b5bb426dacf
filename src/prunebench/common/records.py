"""The small frozen records that pass between steps. They hold JSON, never a model."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prunebench.common.files import sha256_of as sha256_of
from prunebench.common.plain import METRIC_NAMES
from prunebench.common.plain import Interval as Interval
from prunebench.common.plain import Overlap as Overlap

Verdict = Literal["unpruned", "pruned", "preserved", "restored", "altered"]

Activations = Literal["u8", "s8"]  # Whether activations of an INT8 file are unsigned or signed.
VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=120)]
"""Names a folder of its own, so it has no separator and is not hidden."""


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path} is no path below its folder")
    return path


PathInside = Annotated[str, AfterValidator(_inside)]
"""A POSIX path that cannot leave the folder it is relative to."""


FOR_A_KEY = {"for": "key"}
"""Context in which a record is serialized for a step's key: without what changes no result."""


class Record(BaseModel):
    """Base of every record: frozen, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Integers(Record):
    """How INT8 files are made for a host.

    ``narrow``: layers whose few input channels do not fill an integer dot product, as the first
    one's, go on integers too.
    """

    activations: Activations
    narrow: bool = False


class FileRef(Record):
    """A file: its POSIX path relative to a root folder, its digest in hexadecimal and its size."""

    path: PathInside
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path, root: Path) -> Self:
        """Describe an existing file below ``root``."""
        relative = path.relative_to(root).as_posix()
        return cls(path=relative, sha256=sha256_of(path), bytes=path.stat().st_size)

    def holds(self, root: Path) -> bool:
        """Whether the file still exists below ``root`` with the same content."""
        path = root / self.path
        same_size = path.is_file() and path.stat().st_size == self.bytes
        return same_size and sha256_of(path) == self.sha256


class Structure(Record):
    """What a network is, counted in both declared states.

    Attributes:
        task: Ultralytics task ("detect", "segment", "pose", "obb").
        names: Class index to class name.
        parameters: With BatchNorm layers apart (the state a checkpoint is saved in);
            ``parameters_fused`` after they are folded into the convolutions.
        macs: Multiply-accumulates of one image at ``macs_imgsz`` (height, width), BatchNorm folded.
        widths: Output channels of every convolution, by module name in forward order.
        heads: Those of every attention, by its name; empty for an exported file.
        fused: Whether the file itself was already fused when it was read.
        activations: Layers by the class of torch.nn that activates them; empty for an exported file
            that does not say. ``replaced_activation`` is the class they had before, ``None`` where
            none was replaced.
        stock: Description of the stock network with the same count ("yolov8n, 7 classes"),
            or ``None`` where no stock network has it.
    """

    task: str
    names: dict[int, str]
    parameters: int
    parameters_fused: int
    macs: int
    macs_imgsz: tuple[int, int]
    widths: dict[str, int]
    heads: dict[str, int] = Field(default_factory=dict)
    fused: bool
    activations: dict[str, int] = Field(default_factory=dict)
    replaced_activation: str | None = None
    stock: str | None = None


class LeftAlone(Record):
    """Why pruning left a module alone.

    Its outputs are the ``prediction`` or those of ``attention`` that can lose no head, it is
    ``untraced``, ``grouped`` or ``ignored`` by name, the ``other_half`` of its C2f is so, its
    channels are ``joined`` from several layers' that hang together, or its ``width`` is too narrow
    for the ``block`` or the ratio; or that is true of ``shared_with``.
    """

    reason: Literal[
        "prediction",
        "attention",
        "untraced",
        "grouped",
        "ignored",
        "other_half",
        "joined",
        "narrow_block",
        "narrow_ratio",
    ]
    shared_with: str | None = None
    width: int | None = None
    block: int | None = None


class Grounds(Record):
    """What an audit's verdict rests on: whether the count is that of a ``stock`` network or
    ``unknown``, or how the network differs from its parent (``None``: there is none), or from what
    its own file says of it (``changed_since``). ``narrower`` counts convolutions, ``heads`` those
    of all attention; parameters are with BatchNorm apart, ``given_parameters`` those of a model
    that was given pruned.
    """

    kind: Literal[
        "stock",
        "unknown",
        "other_classes",
        "same_widths",
        "narrower",
        "widths_back",
        "wider_than_given",
        "other_layers",
        "changed_since",
    ]
    classes: int
    narrower: int = 0
    heads: int = 0
    parent_heads: int = 0
    parent_classes: int | None = None
    parent_parameters: int | None = None
    given_parameters: int | None = None


class Audit(Record):
    """A structure, compared with the one it was made from.

    Attributes:
        verdict: ``unpruned`` (the stock network), ``pruned`` (narrower than its parent),
            ``preserved`` (same widths as its pruned parent), ``restored`` (pruned parent,
            but the stock widths are back) or ``altered`` (anything else).
        kept_share: Parameters divided by the unpruned baseline's, unfused on both sides.
        left_alone: Modules that pruning left alone, each with its reason.
    """

    structure: Structure
    verdict: Verdict
    grounds: Grounds
    kept_share: float
    left_alone: dict[str, LeftAlone] = {}


class Accuracy(Record):
    """Accuracy of one ONNX file on one list of images.

    Attributes:
        map50: Mean over classes of AP at IoU 0.50, 0..1; ``map50_95`` over IoU 0.50:0.95 too.
        per_class: Class id to its AP50, for the classes that occur in the labels.
        instances: Labelled objects in the images.
        imgsz: (height, width) of the letterbox.
        detections: Raw per-image matches, an ``.npz`` (see ``prunebench.measuring.accuracy``).
        mask_map50: As ``map50``, with the IoU of masks instead of boxes, and so the next three;
            ``None`` of a network that predicts none, as with ``pose_map50``, whose overlap is the
            similarity of keypoints.
        metric: What ``map50`` and ``per_class`` hold: mAP50, or ``top1``, the share of images whose
            most likely class is right; ``map50_95`` and ``per_class_50_95`` are then its top-5.
    """

    map50: float
    map50_95: float
    per_class: dict[int, float]
    per_class_50_95: dict[int, float]
    images: int
    instances: int
    imgsz: tuple[int, int]
    detections: FileRef
    mask_map50: float | None = None
    mask_map50_95: float | None = None
    mask_per_class: dict[int, float] | None = None
    mask_per_class_50_95: dict[int, float] | None = None
    pose_map50: float | None = None
    pose_map50_95: float | None = None
    pose_per_class: dict[int, float] | None = None
    pose_per_class_50_95: dict[int, float] | None = None
    metric: Literal["map50", "top1"] = "map50"

    @property
    def by_overlap(self) -> dict[Overlap, float]:
        """mAP50 by what its IoU is taken of, for all that the network predicts; or top-1."""
        if self.metric == "top1":
            return {"top1": self.map50}
        known: dict[Overlap, float | None]
        known = {"box": self.map50, "mask": self.mask_map50, "pose": self.pose_map50}
        return {overlap: value for overlap, value in known.items() if value is not None}

    @property
    def name(self) -> str:
        """What ``map50`` is called."""
        return METRIC_NAMES["top1" if self.metric == "top1" else "box"]

    @property
    def in_words(self) -> str:
        """Its mAP50, "box mAP50 0.500, mask mAP50 0.400 on 24 images" where there are several."""
        each = self.by_overlap
        names = {**METRIC_NAMES, "box": "box mAP50"} if len(each) > 1 else METRIC_NAMES
        text = ", ".join(f"{names[overlap]} {value:.3f}" for overlap, value in each.items())
        return f"{text} on {self.images} images"


class Parity(Record):
    """Largest differences of boxes (letterbox pixels) and scores (0..1), and their limits."""

    images: int
    max_box_px: float
    max_score: float
    box_tolerance_px: float
    score_tolerance: float

    @property
    def kept(self) -> bool:
        """Whether both are within their limits; a NaN is not."""
        within = self.max_box_px <= self.box_tolerance_px
        return within and self.max_score <= self.score_tolerance

    @property
    def in_words(self) -> str:
        """The differences and their limits; of scores alone where nothing predicts a place."""
        if self.max_box_px == 0:
            most = f"at most {self.score_tolerance:g} is allowed"
            return f"by {self.max_score:.3g} in a score; {most}"
        return (
            f"by {self.max_box_px:.3g} px in a box edge and {self.max_score:.3g} in a score; at "
            f"most {self.box_tolerance_px:g} px and {self.score_tolerance:g} are allowed"
        )


class Runtime(Record):
    """A runtime other than onnxruntime, as a configuration names it, and its packages' versions.

    ``head`` is what the ONNX file that a file was made from says of its outputs.
    """

    name: str
    version: str
    head: dict[str, str] = {}


class InRuntime(Runtime):
    """What a file runs in, and the precision it computes in there ("float32")."""

    precision: str


class Rewriting(Record):
    """How an exported graph was rewritten into one that computes the same in less time.

    By pass, places that were rewritten (``done``), and those that look like it at first and are
    otherwise than the pass knows them (``unknown``), so that they are as they were. Passes that
    make files ``slower`` where they were timed were not applied.
    """

    done: dict[str, int]
    unknown: dict[str, int]
    slower: tuple[str, ...] = ()

    @property
    def on_integers(self) -> Self:
        """What of it is left in an INT8 file, whose convolutions are whole again."""
        return self.model_copy(update={"done": self.done | {"halves": 0}})


class Exported(Record):
    """An ONNX file with its operator set and (height, width) of its letterbox in pixels.

    ``parity`` is its differences from the checkpoint, ``None`` of a quantized file, which computes
    something else on purpose. ``rewriting`` is ``None`` of a file as Ultralytics exports it,
    ``head`` of a network that has one.
    """

    onnx: FileRef
    parity: Parity | None
    opset: int
    imgsz: tuple[int, int]
    rewriting: Rewriting | None = None
    head: Literal["one_to_many", "one_to_one"] | None = None


class Quantization(Record):
    """What went on integers in an INT8 file, and what that cost.

    Of ``layers`` convolutions ``quantized`` are on integers; ``left_float`` has the others' nodes
    and reasons. Both mAP50, 0..1, are on the images the layers were chosen by.
    """

    layers: int
    quantized: int
    left_float: dict[str, str]
    map50_float: float
    map50: float
    activations: Activations
    calibration_images: int


class TrainedOn(Record):
    """What a training ran on, and with what.

    ``device`` is ``cpu``, ``mps`` or ``cuda``, ``name`` the GPU's, of which there were ``devices``;
    layers multiplied in ``precision``; ``workers`` are processes that loaded images.
    """

    device: str
    name: str = ""
    devices: int = 1
    precision: str
    batch: int
    workers: int
    cache: str


class TrainingSummary(Record):
    """What one training did and cost.

    ``round`` is 0 before pruning, 1 for the first retraining; ``minutes`` are wall time of all
    attempts; ``transferred`` of ``tensors`` were taken over from the parent; ``curves`` is
    Ultralytics' CSV; ``resumed`` counts continuations; ``stopped``: why before the last epoch;
    ``arguments`` are Ultralytics', paths apart; ``trained_on`` says with what; ``validation`` is
    the trained file's mAP50, of what ranks, on the validation images.
    """

    strategy: str
    round: int
    epochs: int
    minutes: float
    transferred: int
    tensors: int
    curves: FileRef | None = None
    resumed: int = 0
    stopped: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    trained_on: TrainedOn | None = None
    validation: float | None = None
