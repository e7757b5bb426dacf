"""What a network is, counted in one declared state.

Step ``inspect``: describes a checkpoint.
"""

from __future__ import annotations

import ast
import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import CheckpointError
from prunebench.common.records import Record, Structure
from prunebench.common.text import counted, first_line
from prunebench.common.ultralytics_files import untold
from prunebench.measuring.onnx_graph import DFL, PART, convolutions, module_of
from prunebench.steps.events import Emit, Stage
from prunebench.variants.stock_catalogue import recognise

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

    from prunebench.variants.checkpoint import Network

REPLACED_KEY = "replaced_activation"
"""Our key in a network's description, which Ultralytics ignores: what an activation replaced."""

REPLACEABLE = ("SiLU",)
"""Classes of torch.nn; SiLU activates Ultralytics' networks unless they say otherwise."""

SMALL = 64
"""Side in pixels of an input that shows the order and the dependencies of layers."""


class Request(Record):
    """Input of the step ``inspect``: a checkpoint (absolute path).

    MACs are counted at ``imgsz``, (height, width) in pixels.
    """

    checkpoint: str
    imgsz: tuple[int, int]


def run(request: Request, workdir: Path, emit: Emit) -> Structure:
    """Describe a checkpoint."""
    from prunebench.variants.checkpoint import load_checkpoint

    emit(Stage(what="reading the checkpoint"))
    return structure_of(load_checkpoint(Path(request.checkpoint)), request.imgsz)


def structure_of(network: Network, imgsz: tuple[int, int]) -> Structure:
    """Count a network, BatchNorm apart and folded. The network is left unchanged.

    MACs are counted at ``imgsz``, (height, width) in pixels, multiples of its stride.
    """
    from prunebench.variants.checkpoint import parameter_count

    network = copy.deepcopy(network).eval()
    parameters, widths = parameter_count(network), _widths(network)
    names = {int(index): str(name) for index, name in dict(network.names).items()}
    stock = _stock(parameters, len(names))
    if stock is None and widths == _widths(rebuilt(network)):
        description = Path(str(network.yaml.get("yaml_file", "its own description"))).stem
        stock = f"{description}, {counted(len(names), 'class', 'classes')}"
    activations = dict(Counter(type(layer.act).__name__ for layer in activated(network)))
    was = network.yaml.get(REPLACED_KEY)
    fused = network.fuse(verbose=False)
    return Structure(
        task=network.task,
        names=names,
        parameters=parameters,
        parameters_fused=parameter_count(fused) - _scales(fused),
        macs=_macs(fused, imgsz),
        macs_imgsz=imgsz,
        widths=widths,
        heads={name: attention.num_heads for name, attention in attentions(network).items()},
        fused=False,
        activations=activations,
        replaced_activation=was if was in REPLACEABLE and was not in activations else None,
        stock=stock,
    )


def load_onnx(path: Path) -> onnx.ModelProto:
    """A valid ONNX file; CheckpointError else."""
    import onnx

    if not path.is_file():
        raise CheckpointError("the file does not exist", where=path, fix="check the path")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise errors of their own
        raise CheckpointError("it is not a valid ONNX file", where=path) from error
    return model


def structure_of_onnx(model: onnx.ModelProto, path: Path) -> Structure:
    """Count an exported file. Its BatchNorm is folded; the count with it apart is worked out.

    MACs are those at the size of its input.

    Every convolution Ultralytics wraps (its module's name ends in ``conv``) had a BatchNorm
    layer, whose scale and shift became one bias.

    Raises:
        CheckpointError: It is no ONNX file that Ultralytics exported.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if not {"names", "task", "imgsz"} <= metadata.keys():
        raise CheckpointError(
            "it carries no Ultralytics metadata", where=path, fix="give a file Ultralytics exported"
        )
    try:
        return _counted(model, metadata, path)
    except CheckpointError:
        raise
    except Exception as error:  # a graph and what is said of it may be anything
        what = f"its graph or its metadata is not as Ultralytics exports it ({first_line(error)})"
        raise CheckpointError(what, where=path, fix="export it again") from error


def _counted(model: onnx.ModelProto, metadata: Mapping[str, str], path: Path) -> Structure:
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    height, width = shapes[graph.input[0].name][2:]
    if not height or not width:
        raise CheckpointError(
            "the size of its input is not fixed", where=path, fix="export it with dynamic=False"
        )
    # What an INT8 file makes of stored integers is not stored, but its shape is inferred.
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    weights = shapes | stored
    fused = norms = macs = 0
    widths: dict[str, int] = defaultdict(int)
    sizes, pixels = Counter[str](), Counter[str]()
    for node in convolutions(model):
        kernel, *bias = (weights[name] for name in node.input[1:])
        name = module_of(node.input[1])
        made, size = shapes[node.output[0]][1], math.prod(kernel)
        fused += size + sum(math.prod(dims) for dims in bias)
        swept = node.output[0] if node.op_type == "Conv" else node.input[0]
        # A network is counted as it was trained, however rewriting cut its convolutions: a part
        # without a bias adds to what another part makes, maybe on fewer pixels.
        sizes[name] += size
        pixels[name] = max(pixels[name], math.prod(shapes[swept][2:]))
        widths[name] += made if bias or PART not in node.input[1] else 0
        norms += made if name.endswith(".conv") and bias else 0
    for node in (node for node in model.graph.node if node.op_type == "Gemm"):
        matrix, *bias = (weights[name] for name in node.input[1:])
        fused += math.prod(matrix) + sum(math.prod(dims) for dims in bias)
        macs += math.prod(matrix) * shapes[node.output[0]][0]
    for node in (node for node in model.graph.node if node.op_type == "MatMul"):
        first, second = node.input
        if first in stored and DFL in first:
            # Rewriting repeats the weights of one side for each side's row.
            rows, columns = stored[first]
            name, size = module_of(first), columns // rows
            fused, sizes[name], widths[name] = fused + size, size, 1
            pixels[name] = math.prod(shapes[node.output[0]])
        elif first not in stored:  # Rewriting puts what it stores in front.
            # Attention multiplies two results with each other, a linear layer one with weights.
            fused += math.prod(stored.get(second, [0]))
            macs += math.prod(shapes[node.output[0]]) * shapes[first][-1]
    macs += sum(size * pixels[name] for name, size in sizes.items())
    names = _names(metadata["names"], path)
    return Structure(
        task=metadata["task"],
        names=names,
        parameters=fused + norms,
        parameters_fused=fused,
        macs=macs,
        macs_imgsz=(height, width),
        widths=dict(widths),
        fused=True,
        stock=_stock(fused, len(names)),
    )


def _names(text: str, path: Path) -> dict[int, str]:
    """Class index to name, as Ultralytics writes a dictionary of Python."""
    try:
        names = {int(index): str(name) for index, name in ast.literal_eval(text).items()}
    except Exception:  # text is no Python, or not of a dictionary of numbers
        names = {}
    if not names or set(names) != set(range(len(names))):
        what = "its class names (metadata names) are not numbered from 0 on"
        raise CheckpointError(what, where=path, fix="export it again")
    return names


def rebuilt(network: Network) -> Network:
    """The network its own description builds, with random weights and the same names."""
    description = copy.deepcopy(network.yaml)
    with untold():
        built: Network = type(network)(
            description, ch=description.get("channels", 3), verbose=False
        )
    built.names, built.task = network.names, network.task
    return built.eval()


def blank_image(network: Network, imgsz: tuple[int, int] | None = None) -> Tensor:
    """An input of zeros, shape (1, channels, height, width); by default a small square."""
    import torch

    side = max(SMALL, int(network.stride.max()))
    return torch.zeros(1, network.yaml.get("channels", 3), *(imgsz or (side, side)))


def run_watched(
    network: Network,
    imgsz: tuple[int, int] | None,
    kinds: tuple[type[nn.Module], ...],
    note: Callable[[str, Any, Tensor, Tensor], None],
) -> None:
    """Run a network in eval mode on a ``blank_image``.

    ``note`` receives the name, module, input and output of each module of ``kinds`` as it runs.
    """
    import torch

    hooks = [
        module.register_forward_hook(lambda m, given, out, name=name: note(name, m, given[0], out))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        network(blank_image(network, imgsz))
    for hook in hooks:
        hook.remove()


def attentions(network: nn.Module) -> dict[str, Any]:
    """Every attention by its name."""
    from ultralytics.nn.modules.block import AAttn, Attention

    return {n: m for n, m in network.named_modules() if isinstance(m, Attention | AAttn)}


def _scales(network: Network) -> int:
    """Parameters that the export multiplies into a convolution: ``gamma`` of YOLO12 l and x."""
    return sum(p.numel() for name, p in network.named_parameters() if name.endswith(".gamma"))


def activated(network: Network) -> Iterator[Any]:
    """The layers that activate what they compute, by their ``act``; gates (Sigmoid) do not."""
    from torch import nn

    for module in network.modules():
        act = getattr(module, "act", None)
        if isinstance(act, nn.Module) and not isinstance(act, nn.Identity | nn.Sigmoid):
            yield module


def _stock(parameters: int, classes: int) -> str | None:
    """The stock network of this count ("yolov8n, 7 classes"), ``None`` where there is none."""
    return (recognise(parameters, classes=classes) or "").partition(", unpruned")[0] or None


def _widths(network: Network) -> dict[str, int]:
    """Output channels of every convolution, in the order they run in."""
    from torch import nn

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    widths: dict[str, int] = {}
    run_watched(network, None, kinds, lambda n, m, *_: widths.update({n: m.out_channels}))
    every = {n: m.out_channels for n, m in network.named_modules() if isinstance(m, kinds)}
    # Branches that only training runs come last.
    return widths | every


def _macs(network: Network, imgsz: tuple[int, int]) -> int:
    """Multiply-accumulates of every layer with weights and of attention's two matrix products."""
    from torch import nn
    from ultralytics.nn.modules.block import AAttn, Attention

    total = 0

    def count(_: str, module: Any, given: Tensor, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, Attention | AAttn):
            pairs = (given.shape[-2] * given.shape[-1]) ** 2 // getattr(module, "area", 1)
            keys = getattr(module, "key_dim", module.head_dim)
            total += module.num_heads * pairs * (keys + module.head_dim)
            return
        if isinstance(module, nn.Linear):
            total += given.numel() * module.out_features
            return
        # Every weight meets each output pixel, in a transposed convolution each input pixel.
        swept = given if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * swept.shape[-2] * swept.shape[-1]

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Attention, AAttn)
    run_watched(network, imgsz, kinds, count)
    return total
