"""``qat``: the training of ``preserving``, of a network that computes as its INT8 file will."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prunebench.config.strategy_settings import QatSettings
from prunebench.variants.retraining.preserving import Preserving


class Qat(Preserving):
    """The strategy that trains for the INT8 file."""

    name = "qat"
    settings = QatSettings

    def callbacks(self) -> Mapping[str, Callable[[Any], None]]:
        """Have the network round while it trains, and its average while that is validated."""
        rounding = _Rounding()
        return {
            "on_pretrain_routine_end": rounding.begin,
            "on_val_start": rounding.begin_average,
            "on_val_end": rounding.end_average,
        }


class _Rounding:
    """Callbacks that let a trainer's networks round, but never what it saves: the average.

    The best epoch is so chosen by what the INT8 file will find.
    """

    def __init__(self) -> None:
        self._trainer: Any = None

    def begin(self, trainer: Any) -> None:
        """Let the network that is trained round."""
        from ultralytics.utils.torch_utils import unwrap_model

        from prunebench.variants.retraining.integers import round_to_integers

        self._trainer = trainer
        round_to_integers(_student(unwrap_model(trainer.model)))

    def begin_average(self, _: Any) -> None:
        """Let its average round, which a validation is of."""
        from prunebench.variants.retraining.integers import round_to_integers

        round_to_integers(_student(self._trainer.ema.ema))

    def end_average(self, _: Any) -> None:
        """Leave nothing in the average, which is saved next."""
        from prunebench.variants.retraining.integers import round_no_more

        round_no_more(_student(self._trainer.ema.ema))


def _student(network: Any) -> Any:
    """The network itself, without the teacher of a distillation."""
    return getattr(network, "student_model", network)
