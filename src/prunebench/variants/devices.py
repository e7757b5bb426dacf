"""What a training runs on: what is there, what of it is asked for, and a lock for each GPU.

Only trainings and the losses that pruning asks for run on a GPU: what is shipped runs on a CPU.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Any, Literal

import psutil
from pydantic import model_serializer

from prunebench.common.cores import memory_bytes, usable_cores
from prunebench.common.errors import ConfigError, StepError
from prunebench.common.records import FOR_A_KEY, Record
from prunebench.common.text import counted
from prunebench.config.sections import DeviceKind, Precision
from prunebench.measuring.host.fingerprint import cpu_flags, training_precision
from prunebench.measuring.host.lock import OnWait, using_card
from prunebench.steps.events import Stage, to_parent

WHERE = "retrain.device"
MOST_WORKERS = 8
AUTO_BATCH = 16  # Images per batch where there is no memory of a GPU to fill.
MANY_OBJECTS = 100  # In the mosaic that a batch is tried with.


class GpuCard(Record):
    """A GPU: its name, bytes of memory, whether it multiplies bfloat16, and its own number."""

    name: str
    memory: int
    bfloat16: bool
    uuid: str


class Devices(Record):
    """What a host can train on; ``precision`` is its CPU's fastest, ``memory`` bytes that are free.

    ``torch`` says which build looked: one for CPUs sees no GPU.
    """

    cards: tuple[GpuCard, ...] = ()
    mps: bool = False
    precision: Precision = "float32"
    cores: int = 1
    memory: int = 0
    torch: str = ""


class Device(Record):
    """What trainings run on, and multiply in; ``cards`` are numbers of GPUs."""

    kind: DeviceKind = "cpu"
    cards: tuple[int, ...] | None = None
    name: str = ""
    precision: Precision = "float32"
    cores: int = 1

    @model_serializer(mode="wrap")
    def _without_numbers(self, handler: Any, info: Any) -> Any:
        """A key holds what kind of device it is and how many: another of the kind will do."""
        if info.context != FOR_A_KEY:
            return handler(self)
        return {"kind": self.kind, "cards": self.count}

    @property
    def count(self) -> int:
        """How many there are of it."""
        return len(self.cards or (self.kind,))

    @property
    def torch_name(self) -> str:
        """What torch calls it, the first where it is several."""
        return f"cuda:{self.cards[0]}" if self.cards else self.kind

    @property
    def ultralytics_name(self) -> str:
        """What Ultralytics calls it."""
        return ",".join(map(str, self.cards or (self.kind,)))

    @property
    def words(self) -> str:
        """What it is, for people."""
        several = f"{self.count} x " if self.count > 1 else ""
        return f"{several}{self.name or self.kind.upper()}"

    @property
    def workers(self) -> int:
        """Processes that load images for it: Ultralytics has none on a CPU."""
        return min(MOST_WORKERS, self.cores // self.count) if self.cards else 0


ON_CPU = Device()


def devices_here() -> Devices:
    """What torch sees on this host."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties: Any = torch.cuda.get_device_properties(index)
        # As torch's own check, which asks for the current device alone; AMD's all do.
        native = bool(torch.version.hip) or properties.major >= 8
        uuid = str(getattr(properties, "uuid", index))
        memory = properties.total_memory
        card = GpuCard(name=properties.name, memory=memory, bfloat16=native, uuid=uuid)
        found.append(card)
    return Devices(
        cards=tuple(found),
        mps=torch.backends.mps.is_available(),
        precision=training_precision(cpu_flags()),
        cores=usable_cores(),
        memory=min(psutil.virtual_memory().available, memory_bytes()),
        torch=torch.__version__,
    )


def choose(
    asked: str | tuple[int, ...], precision: Precision | Literal["auto"], here: Devices
) -> Device:
    """What ``retrain.device`` and ``retrain.precision`` ask for; ConfigError where it is absent."""
    device = _device(asked, here)
    if precision == "auto":
        return device
    # A CPU without instructions for bfloat16 multiplies it all the same, slowly.
    cannot = {"cpu": {"float16"}, "mps": {"float16", "bfloat16"}, "cuda": set()}[device.kind]
    if device.kind == "cuda" and device.precision != "bfloat16":
        cannot = {"bfloat16"}
    if precision in cannot:
        raise ConfigError(
            f"trainings cannot multiply in {precision} on {device.words}",
            where="retrain.precision",
            fix="set it to auto",
        )
    return device.model_copy(update={"precision": precision})


def _device(asked: str | tuple[int, ...], here: Devices) -> Device:
    cpu = Device(precision=here.precision, cores=here.cores)
    if asked == "cpu" or (asked == "auto" and not here.cards and not here.mps):
        return cpu
    if asked == "mps" or (asked == "auto" and not here.cards):
        if not here.mps:
            raise ConfigError(
                "this host has no GPU of Apple's that torch sees (mps)",
                where=WHERE,
                fix="set it to auto or cpu",
            )
        return Device(kind="mps", name="Apple GPU", cores=here.cores)
    if isinstance(asked, str):
        asked = (int(asked.partition(":")[2] or 0),) if asked != "auto" else (0,)
    absent = [card for card in asked if card >= len(here.cards)]
    if absent:
        fix = f"use 0 to {len(here.cards) - 1}" if here.cards else "set it to auto or cpu"
        known = counted(len(here.cards), "GPU") if here.cards else "no GPU"
        build = ", a build for CPUs" if here.torch.endswith("+cpu") else ""
        raise ConfigError(
            f"there is no GPU {absent[0]}: torch {here.torch}{build} sees {known} on this host",
            where=WHERE,
            fix=fix,
        )
    cards = [here.cards[card] for card in asked]
    return Device(
        kind="cuda",
        cards=asked,
        name=cards[0].name,
        precision="bfloat16" if all(card.bfloat16 for card in cards) else "float16",
        cores=here.cores,
    )


def batch_for(network: Any, device: Device, imgsz: int) -> int:
    """Images per batch that the GPUs have memory for, those of all together: a power of two each.

    By Ultralytics' estimate, which tries some batches; a power, so that what else lies in memory
    seldom changes it.
    """
    if not device.cards:
        return AUTO_BATCH
    import torch
    from ultralytics.utils.autobatch import check_train_batch_size

    amp: Any = {"float32": False, "float16": True, "bfloat16": torch.bfloat16}
    on_card, few_bits = copy.deepcopy(network).to(device.torch_name), amp[device.precision]
    # The losses of a classification look at no objects.
    objects = 0 if network.task == "classify" else MANY_OBJECTS
    fits = check_train_batch_size(on_card, imgsz, amp=few_bits, max_num_obj=objects)
    return int(2 ** int(math.log2(max(1, fits)))) * device.count


@contextlib.contextmanager
def using(device: Device, who: str, on_wait: OnWait) -> Iterator[None]:
    """Have the GPUs of a device alone; ``on_wait`` gets a sentence that says for whom one waits.

    StepError where this host has no such GPU.
    """
    cards = devices_here().cards if device.cards else ()
    if max(device.cards or (-1,)) >= len(cards):
        raise StepError("train", f"this host has no {device.words} {max(device.cards or ())}")
    with contextlib.ExitStack() as stack:
        # In one order everywhere, so that two that want the same two get on.
        for card in sorted(device.cards or ()):
            stack.enter_context(using_card(card, cards[card].uuid, who, on_wait))
        yield


@contextlib.contextmanager
def lying_on(network: Any, device: Device, who: str) -> Iterator[None]:
    """Have a network on a device in the block, and on the CPU again after it, in place."""
    if device.kind == "cpu":
        yield
        return
    with using(device, who, lambda sentence: to_parent(Stage(what=sentence))):
        network.to(device.torch_name)
        try:
            yield
        finally:
            network.to("cpu")
