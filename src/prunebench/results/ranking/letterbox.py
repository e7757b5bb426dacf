"""What it costs to deploy the baseline at another size than it was trained at.

The baseline at its training size is measured beside it. Where the loss is shown to be over the
limit, the size is the first thing to change for accuracy: accuracy first is then advised only for
the baseline at its training size, and for what is shown to lose no more than the limit against it.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.records import Interval
from prunebench.config.ranking import RankingConfig
from prunebench.results.ranking.compare import Raws, display_interval
from prunebench.results.ranking.doubts import Letterbox, LetterboxCosts
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.ties import Wins, tied


def letterbox_costs(
    letterbox: Letterbox,
    measured: Sequence[MeasuredVariant],
    raws: Raws,
    wins: Wins,
    config: RankingConfig,
) -> LetterboxCosts:
    """What the letterbox costs, as far as it was measured."""
    names = [variant.name for variant in measured]
    control = letterbox.control
    if control not in names or letterbox.baseline not in names:
        return LetterboxCosts(letterbox=letterbox)

    def loss(name: str) -> Interval:
        return display_interval(raws["accuracy", control, name], config.level)

    lost, limit = loss(letterbox.baseline), config.max_map50_loss
    over = limit is not None and lost.low > limit
    return LetterboxCosts(
        letterbox=letterbox,
        loss=lost,
        shown=not tied(wins, "accuracy", control, letterbox.baseline),
        limit=limit if over else None,
        unadvised=tuple(
            name for name in names if over and name != control and loss(name).high > (limit or 0.0)
        ),
    )
