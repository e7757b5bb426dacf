"""Does another round of retraining pay? A round compared with the one before it.

Efficiency is mAP50 x FPS / MB, and latency is measured once, when all training has ended. But two
rounds with the same compute graph have the same FPS and size, so the ratio of their efficiencies
is that of their mAP50. Its difference is bootstrapped over the images, paired, as in the ranking,
of the boxes or the masks, whichever rank. Of several trainings the mean gain counts, each round of
a seed against the round it went on from, and its interval covers them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import numpy as np

from prunebench.common.errors import StepError
from prunebench.common.records import Accuracy, Audit
from prunebench.common.statistics import of_draws, over_trainings
from prunebench.common.variant_record import Judgement, VariantRecord
from prunebench.experiment.figures import network_key
from prunebench.experiment.inputs import Experiment
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
    each, each_before = (one.trainings or (one,) for one in (after, before))
    pairs = [(_known(one), _known(earlier)) for one, earlier in zip(each, each_before, strict=True)]
    for (audit, _), (earlier_audit, _) in pairs:
        if network_key(audit.structure, after) != network_key(earlier_audit.structure, before):
            return Judgement(round=number, finding="other_network")
    images = pairs[0][0][1].images
    if images < FEWEST_IMAGES:
        return Judgement(round=number, finding="few_images", images=images, needed=FEWEST_IMAGES)
    ranking = experiment.config.ranking
    gains, draws = [], []
    for (_, accuracy), (_, earlier) in pairs:
        found, reference = (
            load_detections(experiment.run_folder / one.detections.path, ranking.metric)
            for one in (accuracy, earlier)
        )
        if not np.array_equal(found.target_counts, reference.target_counts):
            reason = f"it was evaluated on other images or labels than {before.name}"
            raise StepError("compare rounds", reason, variant=after.name)
        resamples = Resamples(found.target_counts, ranking.bootstrap, experiment.config.seed)
        scores, scores_before = (resamples.scores(one) for one in (found, reference))
        gains.append(scores.map50 - scores_before.map50)
        draws.append(scores.draws - scores_before.draws)
    over_images = of_draws(fmean(gains), np.mean(draws, axis=0), images)
    gain = over_trainings(over_images, gains).interval(ranking.level)
    finding: Literal["gain", "no_gain"] = "gain" if gain.low > 0 else "no_gain"
    return Judgement(round=number, finding=finding, gain=gain, metric=ranking.metric)


def _known(variant: VariantRecord) -> tuple[Audit, Accuracy]:
    if variant.audit is None or variant.accuracy is None:
        raise StepError("compare rounds", "it has no accuracy", variant=variant.name)
    return variant.audit, variant.accuracy
