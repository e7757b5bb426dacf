"""What was seen on the host and in the profiles, in the words of a catalogue."""

from __future__ import annotations

from prunebench.measuring.latency.records import Noise
from prunebench.results.diagnoses import Explained, Explanation, Sound
from prunebench.results.messages.catalogue import Messages


def tell_noise(noise: Noise, m: Messages) -> str:
    """A clause about what may have falsified a measurement, without a full stop."""
    return m(f"noise.{noise.kind}", **noise.model_dump())


def tell_explanation(explanation: Explanation, m: Messages) -> str:
    """Why a pruned variant is as fast as it is."""
    values = explanation.model_dump()
    if isinstance(explanation, Explained):
        values["cause"] = m(f"cause.{explanation.cause.kind}", **values["cause"])
    elif isinstance(explanation, Sound):
        values["names"] = m.listed(explanation.names)
        low, high = f"{explanation.least:.2f}", f"{explanation.most:.2f}"
        values["times"] = low if low == high else m("range", low=low, high=high)
    return m(f"explanation.{explanation.kind}", **values)
