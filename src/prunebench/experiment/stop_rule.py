"""Does another round of retraining pay? A round compared with the one before it.

Efficiency is mAP50 x FPS / MB, and latency is measured once, when all training has ended. But two
rounds with the same compute graph have the same FPS and size, so the ratio of their efficiencies
is that of their mAP50. Its difference is bootstrapped over the images, paired, as in the ranking,
of the boxes or the masks, whichever rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from prunebench.common.errors import StepError
from prunebench.common.records import Accuracy, Audit, Judgement, VariantRecord
from prunebench.common.statistics import of_draws
from prunebench.experiment.figures import network_key
from prunebench.experiment.prepare import Experiment
from prunebench.measuring.map_bootstrap import Resamples, load_detections
from prunebench.results.ranking.compare import FEWEST_IMAGES


def judge_control(rounds: Sequence[object]) -> Judgement | None:
    """Stop the chain of the control ``retrained`` where every chain beside it was stopped.

    What has failed in ``rounds``, the same round of these chains, is no record and does not count.
    """
    ended = [record.not_trained for record in rounds if isinstance(record, VariantRecord)]
    if not ended or None in ended:
        return None
    last = max(judgement.round for judgement in ended if judgement is not None)
    return Judgement(round=last, finding="chains_ended")


def judge_round(experiment: Experiment, before: VariantRecord, after: VariantRecord) -> Judgement:
    """Whether the chain goes on after ``after``, a round that followed ``before``: on a shown gain.

    StepError where they were evaluated on different images, or one has no accuracy.
    """
    if after.judgement is not None and after.judgement.stops:
        return after.judgement
    number = 0 if after.training is None else after.training.round
    (audit, accuracy), (earlier_audit, earlier) = _known(after), _known(before)
    if network_key(audit.structure, after) != network_key(earlier_audit.structure, before):
        return Judgement(round=number, finding="other_network")
    if accuracy.images < FEWEST_IMAGES:
        return Judgement(
            round=number, finding="few_images", images=accuracy.images, needed=FEWEST_IMAGES
        )
    ranking = experiment.config.ranking
    found, reference = (
        load_detections(experiment.run_folder / one.detections.path, ranking.metric)
        for one in (accuracy, earlier)
    )
    if not np.array_equal(found.target_counts, reference.target_counts):
        reason = f"it was evaluated on other images or labels than {before.name}"
        raise StepError("compare rounds", reason, variant=after.name)
    resamples = Resamples(found.target_counts, ranking.bootstrap, experiment.config.seed)
    after_scores, before_scores = (resamples.scores(one) for one in (found, reference))
    change = after_scores.map50 - before_scores.map50
    draws = after_scores.draws - before_scores.draws
    gain = of_draws(change, draws, found.images).interval(ranking.level)
    finding: Literal["gain", "no_gain"] = "gain" if gain.low > 0 else "no_gain"
    return Judgement(round=number, finding=finding, gain=gain, metric=ranking.metric)


def _known(variant: VariantRecord) -> tuple[Audit, Accuracy]:
    if variant.audit is None or variant.accuracy is None:
        raise StepError("compare rounds", "it has no accuracy", variant=variant.name)
    return variant.audit, variant.accuracy
