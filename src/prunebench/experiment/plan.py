"""Which variants an experiment has, and the chain of steps that makes each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunebench.common.errors import ConfigError
from prunebench.common.records import Record
from prunebench.config.loading import Config
from prunebench.config.sections import STRIDE, Beside, Control
from prunebench.config.strategy_settings import Activation
from prunebench.config.targets import Goal
from prunebench.experiment.controls import lower_letterbox, other_head, trained_letterbox
from prunebench.results.messages.catalogue import Messages
from prunebench.variants.checkpoint import CheckpointInfo

NETWORK_SUFFIXES = (".yaml", ".yml")
ONE_CLASS = "item"  # What Ultralytics calls the class of all objects.
INT8 = "-int8"  # Ends the name of a quantized sibling.


def checkpoint_named(model: str, where: str) -> Path | None:
    """The checkpoint the key or option ``where`` names, ``None`` for a network to train first."""
    path = Path(model).expanduser()
    if model.endswith(NETWORK_SUFFIXES):
        return None
    if path.suffix != ".pt":
        raise ConfigError(
            f"the model {model} is neither a checkpoint (.pt) nor a network (.yaml)",
            where=where,
            fix="give a trained Ultralytics checkpoint such as best.pt",
        )
    return path


class PlannedVariant(Record):
    """A variant that an experiment will make.

    Attributes:
        name: ``baseline``, ``pruned``, ``<chain>-<round>`` (see ``RetrainConfig.chains``); with
            several targets ``pruned-<target>``, ``<chain>-<target>-<round>``; of controls
            ``baseline-<height>x<width>``, ``baseline-plain``, ``smaller``, ``smaller-<target>``,
            ``retrained-<round>``; of a quantized sibling its parent's with ``-int8``.
        parent: ``None`` for the baseline, the pruned variant for a smaller stock network.
        steps: The chain of steps that makes it, ``strategy`` (the chain's name) and ``round``
            those of the last one.
        epochs: Most epochs that the network was trained for since the baseline.
        goal: What the pruning it comes from is to reach, ``None`` for the baseline.
        judged_by: The two rounds before it, where their comparison decides whether it is trained;
            for the control ``retrained`` the same round of every chain, where these may end.
        control: Which control it is, its INT8 sibling too; ``None`` where it is none.
        imgsz: (height, width) of a letterbox of its own in pixels, ``None``: the experiment's.
        quantized: Whether it is its parent's ONNX file in INT8.
        beside: In what alone it differs from another variant of its round, and that one's name.
        seeds: Those of its ``trainings``, where it has several.
        seed: That of this one of them.
    """

    name: str
    parent: str | None
    steps: tuple[str, ...]
    strategy: str | None = None
    round: int = 0
    epochs: int = 0
    goal: Goal | None = None
    judged_by: tuple[str, ...] = ()
    control: Control | None = None
    imgsz: tuple[int, int] | None = None
    quantized: bool = False
    beside: Beside | None = None
    seeds: tuple[int, ...] = ()
    seed: int | None = None

    @property
    def trains_for_int8(self) -> bool:
        """Whether its last step was a training that sees the integers of its INT8 file."""
        return self.strategy is not None and self.strategy.partition("-")[0] == "qat"

    @property
    def trainings(self) -> tuple[PlannedVariant, ...]:
        """One for every seed, or the variant itself where it is made once."""
        each = (self.model_copy(update={"seeds": (), "seed": seed}) for seed in self.seeds)
        return tuple(each) or (self,)

    @property
    def has_other_head(self) -> bool:
        """Whether it is the baseline's checkpoint, exported with its other head."""
        return self.control == "other-head" and not self.quantized

    @property
    def is_plain(self) -> bool:
        """Whether it is the baseline's checkpoint, exported without rewriting."""
        return self.control == "plain-export" and not self.quantized


def plan_variants(
    config: Config, trained_at: int | None = None, stride: int = STRIDE
) -> tuple[PlannedVariant, ...]:
    """Variants of an experiment, each after its parent; ConfigError where one cannot be made.

    ``trained_at`` is the square size in pixels that the checkpoint was trained at, where it says
    so; a baseline that is trained has that of its own settings. ``stride`` is the network's.
    """
    trained = config.model.endswith(NETWORK_SUFFIXES)
    first = ("train baseline",) if trained else ("load checkpoint",)
    baseline = PlannedVariant(name="baseline", parent=None, steps=first)
    before = () if config.prune.sparsity is None else ("train sparse",)
    variants = [baseline]
    goals = config.prune.goals
    for goal in goals:
        label = f"{goal.label}-" if len(goals) > 1 else ""
        step = f"prune to {goal.label}" if len(goals) > 1 else "prune"
        pruned = PlannedVariant(
            name=f"pruned-{label}".removesuffix("-"),
            parent="baseline",
            steps=(*first, *before, step),
            epochs=config.prune.training_epochs,
            goal=goal,
        )
        variants.append(pruned)
        variants += _retrained(config, pruned, label)
    variants += list(_retrained_unpruned(config, variants))
    side = config.baseline.imgsz if trained else trained_at
    variants += _controls(config, variants, side, stride)
    return (*variants, *_quantized(config, variants))


def _retrained(config: Config, pruned: PlannedVariant, label: str) -> list[PlannedVariant]:
    variants = []
    for chain, (strategy, activation) in config.retrain.chains.items():
        parent = pruned
        how = f"{strategy} with {activation}" if activation else strategy
        beside = _beside(config, strategy, activation)
        for number in range(1, config.retrain.rounds + 1):
            judged_by: tuple[str, ...] = ()
            # Round 1 has no round before it that it could gain on.
            if config.retrain.stop_when != "never" and parent.parent and parent.round > 1:
                judged_by = parent.parent, parent.name
            parent = PlannedVariant(
                name=f"{chain}-{label}{number}",
                parent=parent.name,
                steps=(*parent.steps, f"retrain {how} round {number}"),
                strategy=chain,
                round=number,
                epochs=parent.epochs + config.retrain.epochs,
                goal=pruned.goal,
                judged_by=judged_by,
                beside=None if beside is None else (beside[0], f"{beside[1]}-{label}{number}"),
                seeds=_seeds(config),
            )
            variants.append(parent)
    return variants


def _beside(config: Config, strategy: str, activation: Activation | None) -> Beside | None:
    """What a chain differs from another one in, and that one's name."""
    if activation is not None:
        return "activation", strategy
    if strategy == "qat" and "preserving" in config.retrain.strategies:
        return "qat", "preserving"
    return None


def _seeds(config: Config) -> tuple[int, ...]:
    """Of the trainings of a retrained variant; nothing where there is one."""
    several, first = config.retrain.seeds, config.seed
    return tuple(range(first, first + several)) if several > 1 else ()


def size_notes(config: Config, variants: Sequence[PlannedVariant]) -> tuple[str, ...]:
    """A sentence each where baseline or retrained networks are deployed at another size."""
    m, (height, width) = Messages(), config.image.hw
    deployed = {"height": height, "width": width}
    notes = [
        m("size.baseline", trained=max(variant.imgsz), control=variant.name, **deployed)
        for variant in variants
        if variant.control == "trained-size" and variant.imgsz and not variant.quantized
    ]
    side = config.retrain.imgsz
    if side != max(config.image.hw) and any(variant.strategy for variant in variants):
        notes.append(m("size.retrained", trained=side, **deployed))
    return tuple(notes)


def class_notes(config: Config, info: CheckpointInfo) -> tuple[str, ...]:
    """A sentence on ``single_cls`` where the model has it; ConfigError where it cannot.

    ``info`` is what the model says of itself.
    """
    trained = checkpoint_named(config.model, "model") is not None
    if config.single_cls:
        if trained and len(info.names) > 1:
            what = f"the model tells {len(info.names)} classes apart"
            raise ConfigError(what, where="single_cls", fix="set it to false")
        return (Messages()("single_cls.on", name=info.names[0] if trained else ONE_CLASS),)
    return (Messages()("single_cls.off"),) if info.single_cls else ()


def _retrained_unpruned(
    config: Config, variants: Sequence[PlannedVariant]
) -> Iterator[PlannedVariant]:
    """The control ``retrained``: the unpruned network after each round of the same training.

    One chain serves every target and strategy. It follows the recipe of ``preserving``, whatever
    else is compared: distilled by the same teacher, the baseline. Where pruning trains as well,
    with a regulariser or between its stages, a round 0 gives the control as many epochs, but no
    regulariser, which only makes channels dispensable.
    """
    before, shared = config.prune.training_epochs, config.retrain
    if not shared.control:
        return
    parent = variants[0]
    for number in range(0 if before else 1, (shared.rounds if shared.strategies else 0) + 1):
        beside = tuple(v.name for v in variants if v.judged_by and v.round == number)
        parent = PlannedVariant(
            name=f"retrained-{number}",
            parent=parent.name,
            steps=(*parent.steps, f"retrain preserving round {number}"),
            strategy="preserving",
            round=number,
            epochs=parent.epochs + (shared.epochs if number else before),
            judged_by=beside,
            control="retrained",
            seeds=_seeds(config),
        )
        yield parent


def _controls(
    config: Config, variants: Sequence[PlannedVariant], trained_at: int | None, stride: int
) -> Iterator[PlannedVariant]:
    """The controls but ``int8``, which is a quantized sibling."""
    baseline = variants[0]
    hw = config.image.hw
    as_trained = None if trained_at is None else trained_letterbox(hw, trained_at, stride)
    if as_trained is not None:
        # Without it nobody knows what the size costs, and it is itself a variant one can ship. A
        # round times it for as many seconds as any other, so its pixels make no round longer;
        # evaluating it once is less than one epoch's share of them.
        yield _at_letterbox(baseline, as_trained, "trained-size", "change")
    if "resolution" in config.controls:
        lower = lower_letterbox(hw, stride)
        if lower is None:
            height, width = hw
            raise ConfigError(
                f"there is no input size below {height} x {width}, a side has {stride} pixels "
                "already",
                where="controls",
                fix="leave resolution out or enlarge `image`",
            )
        if lower != as_trained:
            yield _at_letterbox(baseline, lower, "resolution", "lower")
    if "plain-export" in config.controls:
        if config.export.rewrite == "none":
            raise ConfigError(
                "every variant is exported plainly already, export.rewrite is none",
                where="controls",
                fix="leave plain-export out",
            )
        yield PlannedVariant(
            name="baseline-plain",
            parent=baseline.name,
            steps=(*baseline.steps, "export without rewriting"),
            control="plain-export",
        )
    if "other-head" in config.controls:
        name = other_head(config.export.head).replace("_", "-")
        yield PlannedVariant(
            name=f"baseline-{name}",
            parent=baseline.name,
            steps=(*baseline.steps, f"export the {name} head"),
            control="other-head",
        )
    if "smaller" in config.controls:
        for pruned in variants:
            if pruned.goal is not None and pruned.parent == baseline.name:
                yield PlannedVariant(
                    name=f"smaller{pruned.name.removeprefix('pruned')}",
                    parent=pruned.name,
                    steps=(f"choose a smaller network than {pruned.name}", "train it"),
                    goal=pruned.goal,
                    control="smaller",
                )


def _at_letterbox(
    baseline: PlannedVariant, imgsz: tuple[int, int], control: Control, verb: str
) -> PlannedVariant:
    size = f"{imgsz[0]}x{imgsz[1]}"
    return PlannedVariant(
        name=f"baseline-{size}",
        parent=baseline.name,
        steps=(*baseline.steps, f"{verb} the input size to {size}"),
        control=control,
        imgsz=imgsz,
    )


def _quantized(config: Config, variants: Sequence[PlannedVariant]) -> Iterator[PlannedVariant]:
    """INT8 siblings of those that are asked for, that of the baseline once."""
    names = [variant.name for variant in variants]
    raw = [variant.name for variant in variants if not variant.has_other_head]
    wanted: Sequence[str] = ()
    if config.quantize is not None:
        wanted = raw if config.quantize.variants is None else config.quantize.variants
    for name in wanted:
        if name in names and name not in raw:
            raise ConfigError(
                f"{name} ends in finished detections, and an INT8 file is made of raw predictions",
                where="quantize.variants",
                fix="leave it out",
            )
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
            raise ConfigError(
                f"there is no variant {name}", where="quantize.variants", fix=f"did you mean {near}"
            )
    if "qat" in config.retrain.strategies and not any(
        variant.name in wanted for variant in variants if variant.trains_for_int8
    ):
        raise ConfigError(
            "qat trains for INT8 files, and none is made of its variants",
            where="quantize",
            fix="set it to int8, or leave qat out",
        )
    is_control = "int8" in config.controls
    if (wanted or is_control) and config.export.head == "one_to_one":
        raise ConfigError(
            "INT8 files are made of raw predictions, and one_to_one ends in finished detections",
            where="export.head",
            fix="set it to one_to_many, or ask for no INT8 files",
        )
    if (wanted or is_control) and config.ranking.size_of == "checkpoint":
        raise ConfigError(
            "a variant in INT8 has no checkpoint whose size could count",
            where="ranking.size_of",
            fix="set it to onnx",
        )
    for goal in config.prune.goals:
        if goal.int8 and not any(v.goal == goal and v.name in wanted for v in variants):
            raise ConfigError(
                f"the target {goal.label} is that of an INT8 file, and none of its networks gets "
                "one",
                where="quantize",
                fix="set it to int8",
            )
    for variant in variants:
        is_baseline = variant.parent is None
        if variant.name in wanted or (is_control and is_baseline):
            yield PlannedVariant(
                name=f"{variant.name}{INT8}",
                parent=variant.name,
                steps=(*variant.steps, "quantize to int8"),
                epochs=variant.epochs,
                goal=variant.goal,
                control="int8" if is_baseline else variant.control,
                imgsz=variant.imgsz,
                quantized=True,
            )
