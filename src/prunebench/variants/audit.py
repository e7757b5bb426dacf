"""What a network is, counted in one declared state, and whether it still is what it was.

Step ``inspect``: describes a checkpoint.
"""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import CheckpointError
from prunebench.common.records import Audit, Grounds, LeftAlone, Record, Structure, Verdict
from prunebench.measuring.onnx_graph import module_of
from prunebench.steps.events import Emit, Stage
from prunebench.variants.stock_catalogue import recognise

if TYPE_CHECKING:
    import onnx

    from prunebench.variants.checkpoint import Network

UNPRUNED = ", unpruned"
DEFAULT_HW = (640, 640)
"""Input size MACs are counted at where nothing else is known: Ultralytics' default."""


class Request(Record):
    """Input of the step ``inspect``.

    Attributes:
        checkpoint: Absolute path of the checkpoint.
        imgsz: (height, width) in pixels the MACs are counted at.
    """

    checkpoint: str
    imgsz: tuple[int, int]


class Finding(Record):
    """What ``prunebench audit`` says of one subject.

    Attributes:
        subject: The file or the number that was asked about.
        stock: The stock network it is, ``None`` where it is none.
        audit: The figures behind it, ``None`` for a bare number.
    """

    subject: str
    stock: str | None
    audit: Audit | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Structure:
    """Describe a checkpoint.

    Raises:
        CheckpointError: It cannot be used.
    """
    from prunebench.variants.checkpoint import load_checkpoint

    emit(Stage(what="reading the checkpoint"))
    return structure_of(load_checkpoint(Path(request.checkpoint)), request.imgsz)


def structure_of(network: Network, imgsz: tuple[int, int]) -> Structure:
    """Count a network, BatchNorm apart and folded. The network is left unchanged.

    Args:
        network: A network as ``load_checkpoint`` returns it.
        imgsz: (height, width) in pixels the MACs are counted at, multiples of its stride.
    """
    network = copy.deepcopy(network).eval()
    parameters = _parameters(network)
    widths = _widths(network)
    names = {int(index): str(name) for index, name in dict(network.names).items()}
    stock = recognise(parameters, classes=len(names)) or _own_description(network, widths)
    fused = network.fuse(verbose=False)
    return Structure(
        task=network.task,
        names=names,
        parameters=parameters,
        parameters_fused=_parameters(fused),
        macs=_macs(fused, imgsz),
        macs_imgsz=imgsz,
        widths=widths,
        fused=False,
        stock=None if stock is None else stock.removesuffix(UNPRUNED),
    )


def judge(
    structure: Structure,
    *,
    parent: Audit | None,
    baseline: Audit | None,
    left_alone: Mapping[str, LeftAlone] | None = None,
) -> Audit:
    """Compare a network with the one it was made from.

    Args:
        structure: The network.
        parent: Audit of the network it was made from, ``None`` where it was given.
        baseline: Audit of the unpruned network at the root, ``None`` where that is this one.
        left_alone: Modules pruning left alone, with reasons.
    """
    root = baseline or parent
    unpruned = structure if root is None else root.structure
    verdict, grounds = _verdict(structure, parent, baseline)
    return Audit(
        structure=structure,
        verdict=verdict,
        grounds=grounds,
        kept_share=structure.parameters / unpruned.parameters,
        left_alone=dict(left_alone or {}),
    )


def audit(subject: str | PathLike[str] | int) -> Finding:
    """Say what a checkpoint, an ONNX file or a bare number of parameters is.

    Raises:
        CheckpointError: The file cannot be used.
    """
    return audit_number(subject) if isinstance(subject, int) else audit_file(Path(subject))


def audit_number(parameters: int) -> Finding:
    """Say which stock network has this many parameters."""
    return Finding(subject=f"{parameters:,}", stock=recognise(parameters))


def audit_file(path: Path, *, trust: bool = False) -> Finding:
    """Say what a checkpoint or an ONNX file is.

    A checkpoint carries the description its network was built from, so it is compared with that.

    Args:
        path: The file.
        trust: Load a checkpoint whatever it holds, which runs its code.

    Raises:
        CheckpointError: The file cannot be used.
    """
    audit = _audit_onnx(path) if path.suffix == ".onnx" else _audit_checkpoint(path, trust)
    return Finding(subject=str(path), stock=audit.structure.stock, audit=audit)


def _verdict(
    structure: Structure, parent: Audit | None, baseline: Audit | None
) -> tuple[Verdict, Grounds]:
    classes = len(structure.names)
    if parent is None:
        if structure.stock is None:
            return "altered", Grounds(kind="unknown", classes=classes)
        return "unpruned", Grounds(kind="stock", classes=classes)
    before = parent.structure
    known = Grounds(
        kind="same_widths",
        classes=classes,
        narrower=_narrower(structure.widths, before.widths),
        parent_classes=len(before.names),
        parent_parameters=before.parameters,
    )
    if structure.names != before.names:
        return "altered", known.model_copy(update={"kind": "other_classes"})
    if structure.widths == before.widths:
        return ("preserved" if parent.verdict == "pruned" else parent.verdict), known
    if known.narrower:
        return "pruned", known.model_copy(update={"kind": "narrower"})
    back = baseline is not None and structure.widths == baseline.structure.widths
    if back or (structure.stock is not None and _narrower(before.widths, structure.widths)):
        return "restored", known.model_copy(update={"kind": "widths_back"})
    return "altered", known.model_copy(update={"kind": "other_layers"})


def _narrower(widths: Mapping[str, int], others: Mapping[str, int]) -> int:
    """How many layers are narrower than the others', 0 where any is wider or they do not match."""
    if widths.keys() != others.keys() or any(widths[name] > others[name] for name in widths):
        return 0
    return sum(widths[name] < others[name] for name in widths)


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _widths(network: Network) -> dict[str, int]:
    """Output channels of every convolution, in the order they run in."""
    import torch
    from torch import nn

    widths: dict[str, int] = {}
    convolutions = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }
    hooks = [
        module.register_forward_pre_hook(
            lambda m, _, name=name: widths.__setitem__(name, m.out_channels)
        )
        for name, module in convolutions.items()
    ]
    with torch.no_grad():
        network(torch.zeros(1, network.yaml.get("channels", 3), 64, 64))
    for hook in hooks:
        hook.remove()
    # Branches that only training runs come last.
    return widths | {n: m.out_channels for n, m in convolutions.items() if n not in widths}


def _macs(network: Network, imgsz: tuple[int, int]) -> int:
    """Multiply-accumulates of every convolution and of attention's two matrix products."""
    import torch
    from torch import nn
    from ultralytics.nn.modules.block import Attention

    total = 0

    def count(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if isinstance(module, Attention):
            positions = inputs[0].shape[-2] * inputs[0].shape[-1]
            total += module.num_heads * positions**2 * (module.key_dim + module.head_dim)
            return
        # Every weight meets each output pixel, in a transposed convolution each input pixel.
        swept = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * swept.shape[-2] * swept.shape[-1]

    kinds = (nn.Conv2d, nn.ConvTranspose2d, Attention)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        network(torch.zeros(1, network.yaml.get("channels", 3), *imgsz))
    for hook in hooks:
        hook.remove()
    return total


def _own_description(network: Network, widths: Mapping[str, int]) -> str | None:
    """Name of the description the network carries, where it is as wide as that builds it."""
    if widths != _widths(_built(network)):
        return None
    name = Path(str(network.yaml.get("yaml_file", "its own description"))).stem
    return f"{name}, {len(network.names)} classes"


def _built(network: Network) -> Network:
    """The network its description builds, with random weights and the same names."""
    description = copy.deepcopy(network.yaml)
    channels = description.get("channels", 3)
    built: Network = type(network)(description, ch=channels, verbose=False)
    built.names, built.task = network.names, network.task
    return built.eval()


def _audit_checkpoint(path: Path, trust: bool) -> Audit:
    from prunebench.variants.checkpoint import inspect_checkpoint, load_checkpoint

    network = load_checkpoint(path, trust=trust)
    structure = structure_of(network, DEFAULT_HW)
    if structure.stock is not None:
        return judge(structure, parent=None, baseline=None)
    stock = judge(structure_of(_built(network), DEFAULT_HW), parent=None, baseline=None)
    left_alone = inspect_checkpoint(path, trust=trust).provenance.get("left_alone")
    return judge(structure, parent=stock, baseline=stock, left_alone=left_alone)


def _audit_onnx(path: Path) -> Audit:
    import onnx

    if not path.is_file():
        raise CheckpointError("the file does not exist", where=path, fix="check the path")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise errors of their own
        raise CheckpointError("it is no valid ONNX file", where=path) from error
    return judge(_onnx_structure(model, path), parent=None, baseline=None)


def _onnx_structure(model: onnx.ModelProto, path: Path) -> Structure:
    """Count an exported file. Its BatchNorm is folded; the count with it apart is worked out.

    Every convolution Ultralytics wraps (its module's name ends in ``conv``) had a BatchNorm
    layer, whose scale and shift became one bias.
    """
    import onnx

    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if not {"names", "task", "imgsz"} <= metadata.keys():
        raise CheckpointError(
            "it carries no Ultralytics metadata", where=path, fix="give a file Ultralytics exported"
        )
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    # What an INT8 file makes of stored integers is not stored, but its shape is inferred.
    weights = shapes | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    fused = norms = macs = 0
    widths = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        kernel, *bias = (weights[name] for name in node.input[1:])
        name = module_of(node.input[1])
        size = math.prod(kernel)
        fused += size + sum(math.prod(dims) for dims in bias)
        swept = node.output[0] if node.op_type == "Conv" else node.input[0]
        pixels = math.prod(shapes[swept][2:])
        widths[name] = shapes[node.output[0]][1]
        macs += size * pixels
        norms += widths[name] if name.endswith(".conv") and bias else 0
    names = {int(index): str(name) for index, name in ast.literal_eval(metadata["names"]).items()}
    stock = recognise(fused, classes=len(names))
    height, width = ast.literal_eval(metadata["imgsz"])
    return Structure(
        task=metadata["task"],
        names=names,
        parameters=fused + norms,
        parameters_fused=fused,
        macs=macs,
        macs_imgsz=(height, width),
        widths=widths,
        fused=True,
        stock=None if stock is None else stock.split(UNPRUNED)[0],
    )
