"""Networks built from a description (``yolov8n.yaml``): Ultralytics' own, or a user's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunebench.common.errors import ConfigError
from prunebench.common.text import first_line
from prunebench.common.ultralytics_files import import_offline, untold
from prunebench.variants.checkpoint import Network, stride_of
from prunebench.variants.checkpoint_faults import layers_fault, running_fault

FIX = "use one of Ultralytics', such as yolov8n.yaml"


def stock_description(name: str, width: float | None = None) -> dict[str, Any]:
    """A network description as Ultralytics' networks are built from.

    ``name`` is Ultralytics' name of one or a path, ``width`` a multiplier of every layer's channels
    in place of that of its size.
    """
    import_offline()
    from ultralytics.nn import tasks
    from ultralytics.utils import YAML

    ultralytics_tasks: Any = tasks
    reader: Any = YAML
    path = Path(name).expanduser()
    description: dict[str, Any]
    if path.is_file():
        # Read here, as Ultralytics renames some files and takes others of a like name.
        description = reader.load(path)
        description["scale"] = ultralytics_tasks.guess_model_scale(path)
    else:
        description = ultralytics_tasks.yaml_model_load(name)
    # Ultralytics keeps the whole path; a checkpoint holds no path of the machine it was made on.
    description["yaml_file"] = path.name
    if width is not None:
        scale = description["scale"]
        depth, _, most = description["scales"][scale]
        description["scales"] = {scale: [depth, width, most]}
        description["yaml_file"] = f"{path.stem}-width-{width:g}{path.suffix}"
    return description


def build_network(
    description: dict[str, Any],
    names: Mapping[int, str] | None = None,
    points: tuple[int, int] | None = None,
) -> Network:
    """The network of a ``stock_description`` with random weights, in eval mode.

    ``names`` are its classes; ``None``: as many as the description says, numbered. ``points`` are
    number and values of the keypoints, where it is for poses.
    """
    from ultralytics.nn import tasks

    from prunebench.measuring.heads import HEADS, TASKS

    if (fault := layers_fault(description)) is not None:
        raise ValueError(fault)
    kinds = [row[2] for row in [*description["backbone"], *description["head"]]]
    if kinds[-1] not in TASKS:
        raise ValueError(f"it ends in model.{len(kinds) - 1} ({kinds[-1]})")
    task = TASKS[kinds[-1]]
    if task == "pose" and points is not None:
        description["kpt_shape"] = list(points)
    builders: Any = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "pose": tasks.PoseModel,
        "obb": tasks.OBBModel,
        "classify": tasks.ClassificationModel,
    }
    count = None if names is None else len(names)
    with untold():
        network = builders[task](description, nc=count, verbose=False)
    network.task = task
    head = network.model[-1]
    network.stride = stride_of(head)
    network.names = dict(names or {i: str(i) for i in range(HEADS[task].classes_in(head))})
    return network.eval()


def described_network(
    name: str,
    names: Mapping[int, str] | None = None,
    width: float | None = None,
    points: tuple[int, int] | None = None,
) -> Network:
    """The network that ``name`` describes; the other arguments are as above.

    Raises:
        ConfigError: There is no such description, or none of a network for a supported task.
    """
    try:
        network = build_network(stock_description(name, width), names, points)
    except FileNotFoundError:
        what = "there is no such network description"
        raise ConfigError(what, where=name, fix=FIX) from None
    except Exception as error:
        # Ultralytics' parser raises whatever a wrong description makes it stumble over.
        raise ConfigError(
            f"it describes no network that can be pruned ({first_line(error)})",
            where=name,
            fix=FIX,
        ) from error
    if (fault := running_fault(network)) is not None:
        raise ConfigError(fault[0], where=name, fix=FIX)
    return network
