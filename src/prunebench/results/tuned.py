"""What tuning a variant's session found, and the code that opens such a session."""

from __future__ import annotations

from prunebench.common.records import FileRef, Interval, Record
from prunebench.measuring.latency.raw import Noise
from prunebench.measuring.session import ENUMS, SessionSettings, options_of


class Setting(Record):
    """A session's setting beside the run's own, in the same rounds.

    ``time`` and ``memory`` are ratios to the run's own settings (``None``: it failed, or these are
    they) of a frame, end to end, and of what the session keeps in memory, 10^6 bytes; ``faster``
    and ``smaller`` are shown with the number of settings taken into account.
    """

    name: str
    ms: float
    memory_mb: float
    time: Interval | None = None
    memory: Interval | None = None
    faster: bool = False
    smaller: bool = False


class Tuned(Record):
    """The session settings of one variant on the host of its run.

    Attributes:
        threads: intra_op_num_threads of the run's own settings, ``session``.
        name: Of the setting taken, ``None`` where nothing is shown to be better than the run's own.
        options: What it changes, by onnxruntime's names.
        screened: Every change alone, in rounds of their own; ``confirmed``: combinations of those
            that looked better.
        left_out: Changes that were not tried, as the images are gone that accuracy is of.
        map50: Of the setting taken, 0..1, where it may compute something else, and ``lost``, what
            that is against the run's own.
        refused: Settings that are shown to lose accuracy.
        samples: Raw samples, in the run's folder.
    """

    variant: str
    threads: int
    session: SessionSettings
    name: str | None
    options: dict[str, bool | int | str]
    screened: tuple[Setting, ...]
    confirmed: tuple[Setting, ...]
    left_out: tuple[str, ...] = ()
    map50: float | None = None
    lost: Interval | None = None
    refused: tuple[str, ...] = ()
    rounds: tuple[int, ...]
    minutes: float
    noise: tuple[Noise, ...]
    samples: tuple[FileRef, ...]

    @property
    def taken(self) -> Setting | None:
        """What was measured of the setting taken."""
        return next((one for one in self.confirmed if one.name == self.name), None)


def session_code(tuned: Tuned, file: str) -> str:
    """Python that opens the session, with every option that latency was measured with."""
    lines = ["import onnxruntime as ort", "", "options = ort.SessionOptions()"]
    for name, value in {**options_of(tuned.session, tuned.threads), **tuned.options}.items():
        if "." in name:
            lines.append(f'options.add_session_config_entry("{name}", "{value}")')
        elif name in ENUMS:
            lines.append(f"options.{name} = ort.{ENUMS[name]}.{value}")
        else:
            lines.append(f"options.{name} = {value}")
    lines.append(
        f'session = ort.InferenceSession("{file}", options, providers=["CPUExecutionProvider"])'
    )
    return "\n".join(lines)
