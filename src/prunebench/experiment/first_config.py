"""A first configuration for a user's model and data, written after looking at both."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench.common.cores import default_threads
from prunebench.common.plain import METRIC_NAMES
from prunebench.common.text import counted, slug
from prunebench.config.sections import STRIDE
from prunebench.data.check import check_dataset, evaluation_split, flawed_sentence
from prunebench.data.dataset import Dataset, Split, images_of, resolve_dataset, splits_of
from prunebench.data.file_memo import remembering
from prunebench.data.images import usable_image
from prunebench.experiment.plan import checkpoint_named
from prunebench.measuring.heads import HEADS
from prunebench.measuring.host.fingerprint import cpu_flags, int8_obstacle
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_audit
from prunebench.steps.events import stage
from prunebench.variants.checkpoint import CheckpointInfo
from prunebench.variants.given import Given, Request, open_given

LOOKED_AT = 50  # Images whose sizes are read.
SHARE_OF_TRAINING = 5
FEWEST_EPOCHS, MOST_EPOCHS = 10, 50


@dataclass(frozen=True)
class _Seen:
    """What was found, beside the model and data as the user gave them.

    ``info`` is ``None`` for a network that is trained first, ``images`` by split, ``typical``
    (width, height) in pixels of the middle image, ``alike`` whether all have one shape, ``split``
    the images accuracy comes from and ``why`` they are not the test split's, ``single`` whether the
    data's classes are one to the model, ``bad`` what is said of images that cannot be used.
    """

    model: str
    data: str
    given: Given
    info: CheckpointInfo | None
    dataset: Dataset
    images: dict[Split, int]
    typical: tuple[int, int]
    alike: bool
    split: Split
    why: str | None
    single: bool
    bad: str | None


def first_config(model: str, data: str, *, file: str, cache_dir: Path) -> str:
    """Look at a model and its data and write a configuration with comments: YAML, valid as it is.

    ``model`` is a checkpoint (.pt) or a network (.yaml) to train first, ``data`` a data YAML or the
    name of built-in data, ``file`` the name the comments mention. InputError where model or data
    cannot be used, or do not belong together.
    """
    seen = _look(model, data, cache_dir)
    side, side_comment = _training_side(seen)
    height, width = letterbox_for(seen.typical, side, seen.given.info.stride)
    if seen.given.info.task == "classify":
        height = width = side
    metric = HEADS[seen.given.info.task].overlaps[0]
    epochs, epochs_comment = _epochs(seen.info)
    obstacle = int8_obstacle(cpu_flags())
    size_comment = ""
    if seen.info is not None and seen.info.imgsz is not None:
        note = Messages(metric=metric)("size.first", trained=side)
        stage(note)
        size_comment = f"# {note}\n"
    return f"""\
# Written by `prunebench init` after looking at the model and the data.
#   prunebench plan --config {file}           what will be made
#   prunebench run --config {file} --dry-run  how long it takes here
#   prunebench run --config {file}            do it
# What is not set here has its default; `prunebench plan --config {file} --json` shows all of it.

name: {slug(Path(model).stem)[:40].strip("-") or "compare"}

# {_model_comment(seen)}
model: {json.dumps(model, ensure_ascii=False)}

# {_data_comment(seen)}
data: {json.dumps(data, ensure_ascii=False)}
{_single_cls(seen)}{_bad_images(seen)}
# {_letterbox_comment(seen, (height, width))}
{size_comment}image: {{height: {height}, width: {width}}}

prune:
  # What the pruned network is to reach: times as fast as this model on this host, or 8 ms,
  # 1.7M parameters, 300M MACs, 0.15 (a share of the channels).
  # A list such as [1.25x, 2x, 3x] draws the accuracy-latency frontier.
  target: 1.5x

# The cheap alternatives a pruned model has to beat:
# the unpruned model in INT8, it at a lower resolution, a smaller stock network.
# {obstacle or "This CPU has fast INT8 instructions, so int8 is the one to beat."}
controls: []  # [int8, resolution, smaller]

retrain:
  # Rounds per strategy. More than one is worth its time only where it is shown to gain:
  # with no_gain a chain ends as soon as a round shows none.
  rounds: 2
  stop_when: no_gain
  # Epochs per round; {epochs_comment}.
  epochs: {epochs}
  # Trainings of every retrained variant. Another seed gives another file; from 3 on the
  # intervals cover that too, for as many times the training time.
  seeds: 1
  # Square training size in pixels, {side_comment}.
  imgsz: {side}

accuracy:
  # {counted(seen.images[seen.split], "image")}{f" ({seen.why})" if seen.why else ""}; fewer than
  # 20 give no interval worth the name.
  split: {seen.split}

latency:
  # Each number of threads is a column of its own: 1 for a busy device, all cores for one alone.
  threads: [{", ".join(map(str, default_threads()))}]

ranking:
  # Frames per second the deployed model has to keep, and the {METRIC_NAMES[metric]} it may lose.
  realtime_fps: 20
  max_map50_loss: 0.05
"""


def letterbox_for(typical: tuple[int, int], side: int, stride: int = STRIDE) -> tuple[int, int]:
    """(height, width), the longer one ``side``, that pads images of (width, height) least.

    ``side`` and the other one are multiples of ``stride``, all in pixels.
    """
    width, height = typical
    shorter = stride * max(1, math.ceil(side * min(typical) / max(typical) / stride))
    return (shorter, side) if width >= height else (side, shorter)


def _look(model: str, data: str, cache_dir: Path) -> _Seen:
    trained = checkpoint_named(model, "--model") is not None
    given = open_given(Request(model=str(Path(model).expanduser())))
    info = given.info if trained else None
    dataset = resolve_dataset(data, cache_dir=cache_dir)
    single = info is not None and info.single_cls and len(dataset.names) > len(info.names)
    names = None if info is None or single else info.names
    task = given.info.task
    with remembering(dataset.yaml, cache_dir) as memo:
        found = check_dataset(dataset, class_names=names, task=task, memo=memo, bad_images="skip")
    files = {
        split: [image for image in images_of(dataset, split) if str(image) not in found.flawed]
        for split in splits_of(dataset)
    }
    sizes = _sizes(files["train"])
    split, why = evaluation_split(dataset, found)
    middle = statistics.median_low([width / height for width, height in sizes])
    return _Seen(
        model=model,
        data=data,
        given=given,
        info=info,
        dataset=dataset,
        images={split: len(found) for split, found in files.items()},
        typical=next(size for size in sizes if size[0] / size[1] == middle),
        alike=len({round(width / height, 2) for width, height in sizes}) == 1,
        split=split,
        why=why,
        single=single,
        bad=flawed_sentence(dataset, found.flawed) if found.flawed else None,
    )


def _sizes(images: Sequence[Path]) -> list[tuple[int, int]]:
    """(width, height) of images spread over the split, upright: headers say how they lie."""
    step = max(1, len(images) // LOOKED_AT)
    return [
        (image.shape[1], image.shape[0]) for image in map(usable_image, images[::step][:LOOKED_AT])
    ]


def _training_side(seen: _Seen) -> tuple[int, str]:
    usual = HEADS[seen.given.info.task].default_side
    side, source = min(usual, max(seen.typical)), "by the size of the images"
    if seen.info is not None and seen.info.imgsz is not None:
        side, source = seen.info.imgsz, "as the model was trained"
    stride = max(STRIDE, seen.given.info.stride)
    return stride * max(1, math.ceil(side / stride)), source


def _epochs(info: CheckpointInfo | None) -> tuple[int, str]:
    if info is None or info.epochs is None:
        return FEWEST_EPOCHS, "what the model was trained for is not known"
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(info.epochs / SHARE_OF_TRAINING)))
    return epochs, f"the model was trained for {info.epochs}"


def _model_comment(seen: _Seen) -> str:
    info = seen.info
    if info is None:
        return "This network is trained from random weights first; see the key `baseline`."
    audit = seen.given.audit
    what = f"{audit.verdict}, {tell_audit(audit, Messages())}"
    trained = f", trained at {info.imgsz} pixels" if info.imgsz else ""
    epochs = f" for {counted(info.epochs, 'epoch')}" if trained and info.epochs else ""
    classes = counted(len(info.names), "class", "classes")
    return f"{info.task}, {classes}; {what}{trained}{epochs}."


def _data_comment(seen: _Seen) -> str:
    counts = ", ".join(f"{number:,} {split}" for split, number in seen.images.items())
    width, height = seen.typical
    shapes = "all of one shape" if seen.alike else "of several shapes"
    return f"Images: {counts}; typically {width} x {height} (W x H), {shapes}."


def _single_cls(seen: _Seen) -> str:
    if not seen.single:
        return ""
    classes = len(seen.dataset.names)
    return f"""
# The model was trained so: the {classes} classes of the data are one to it.
single_cls: true
"""


def _bad_images(seen: _Seen) -> str:
    if seen.bad is None:
        return ""
    return f"""
# {" ".join(seen.bad.split())}.
# Restore or remove what is named, or write skip to leave it out everywhere.
bad_images: refuse
"""


def _letterbox_comment(seen: _Seen, hw: tuple[int, int]) -> str:
    if seen.given.info.task == "classify":
        return "The square that the model sees: the middle of an image, resized."
    width, height = seen.typical
    scale = min(hw[1] / width, hw[0] / height)
    used = width * height * scale**2 / (hw[0] * hw[1])
    stride = seen.given.info.stride
    text = f"The fixed letterbox of the exported model, multiples of {stride}: {used:.0%} of it"
    return f"{text} is image.{'' if seen.alike else ' Check it against your other shapes.'}"
