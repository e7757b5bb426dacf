"""What changed a variant's accuracy, told apart: letterbox, pruning, retraining, INT8 and so on.

Each part is a difference of two rows, and together they lead from the unpruned network at the size
it was trained at to the variant. What pruning costs is seen beside the unpruned network that was
retrained alike, the control ``retrained``: the baseline was not retrained, so beside it a loss by
pruning may hide behind a gain by retraining. Without that control the two are not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prunebench.results.ranking.doubts import Confounded, Doubt, OneTraining, RetrainingHarmed
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.records import Change, Changes, Difference, Part

UNRELATED = ("smaller", "plain-export", "other-head")
"""Controls of another network, file or head, so that no part of a change tells them apart."""


class Origins:
    """Where measured variants come from, and which unpruned ones they are held against."""

    def __init__(self, measured: Sequence[MeasuredVariant]) -> None:
        self._by_name = {variant.name: variant for variant in measured}
        self.baseline = next((v for v in measured if v.parent is None), None)
        self._int8 = {v.parent: v.name for v in measured if v.quantized and v.parent}
        self._trained_size = self._control("trained-size")
        self._retrained = {
            v.epochs: v for v in measured if v.control == "retrained" and not v.quantized
        }

    def retrained_alike(self, variant: MeasuredVariant) -> MeasuredVariant | None:
        """The unpruned network that was trained for as many epochs as a pruned variant."""
        return None if _is_unpruned(variant) else self._retrained.get(variant.epochs)

    def is_confounded(self, variant: MeasuredVariant) -> bool:
        """Whether a variant was pruned and trained, and no unpruned network was trained alike."""
        compared = self.baseline is not None and not _is_unpruned(variant)
        return compared and variant.epochs > 0 and self.retrained_alike(variant) is None

    def parts(self, variant: MeasuredVariant) -> Iterator[tuple[Part, str, str]]:
        """Each part of the change, from which variant and to which."""
        whole = self._by_name.get(variant.parent or "") if variant.quantized else variant
        if whole is None or self.baseline is None or variant.control in UNRELATED:
            return
        baseline, alike = self.baseline, self.retrained_alike(whole)
        besides = list(self._besides(whole))[::-1]
        made = [besides[0][1] if besides else whole, *(one for _, _, one in besides)]
        pruned = made[0]
        at_its_size = whole.control in ("resolution", "trained-size")
        before = self._trained_size or baseline
        after = whole if at_its_size else baseline
        if after is not before:
            yield "letterbox", before.name, after.name
        if self.is_confounded(whole):
            yield "undivided", baseline.name, pruned.name
        elif alike is not None:
            yield "retraining", baseline.name, alike.name
            yield "pruning", alike.name, pruned.name
        elif whole is not after:
            yield "retraining" if whole.control else "pruning", baseline.name, pruned.name
        # An INT8 file is held against the INT8 file of what it stands beside.
        in_int8 = variant.quantized and all(one.name in self._int8 for one in made)
        names = self._int8 if in_int8 else {one.name: one.name for one in made}
        if in_int8:
            yield "int8", pruned.name, names[pruned.name]
        for part, other, one in besides:
            yield part, names[other.name], names[one.name]
        if variant.quantized and not in_int8:
            yield "int8", whole.name, variant.name

    def _besides(
        self, variant: MeasuredVariant
    ) -> Iterator[tuple[Part, MeasuredVariant, MeasuredVariant]]:
        """What it differs in from the one beside it, that from the next one, and so on."""
        while variant.beside is not None and variant.beside[1] in self._by_name:
            other = self._by_name[variant.beside[1]]
            yield variant.beside[0], other, variant
            variant = other

    def _control(self, control: str) -> MeasuredVariant | None:
        found = (v for v in self._by_name.values() if v.control == control and not v.quantized)
        return next(found, None)


def changes_of(
    measured: Sequence[MeasuredVariant], origins: Origins, differences: Sequence[Difference]
) -> Iterator[Changes]:
    """The change of every variant that is the baseline's network, made otherwise."""
    pairs = {frozenset((d.first, d.second)): d for d in differences if d.metric == "accuracy"}
    for variant in measured:
        changes = []
        for part, before, after in origins.parts(variant):
            difference = pairs[frozenset((before, after))]
            gain = difference.seen_from(after)
            if gain is not None:
                shown = difference.significant
                changes.append(
                    Change(part=part, before=before, after=after, gain=gain, shown=shown)
                )
        if changes:
            yield Changes(variant=variant.name, parts=tuple(changes))


def doubts_of_retraining(
    measured: Sequence[MeasuredVariant], origins: Origins, changes: Sequence[Changes]
) -> Iterator[Doubt]:
    """What to know before believing a comparison of retrained variants."""
    confounded = tuple(v.name for v in measured if origins.is_confounded(v))
    if confounded and origins.baseline is not None:
        yield Confounded(names=confounded, baseline=origins.baseline.name)
    trained = [v for v in measured if v.epochs and not v.quantized]
    longest = max((v for v in trained if v.control), key=lambda v: v.epochs, default=None)
    for story in changes:
        for change in story.parts if longest and story.variant == longest.name else ():
            if change.part == "retraining" and change.shown and change.gain.estimate < 0:
                ends = {"name": change.after, "reference": change.before}
                yield RetrainingHarmed(change=change.gain, **ends)
    once = tuple(v.name for v in trained if len(v.trainings) < 2)
    if once:
        yield OneTraining(names=once)


def _is_unpruned(variant: MeasuredVariant) -> bool:
    return variant.parent is None or variant.control is not None
