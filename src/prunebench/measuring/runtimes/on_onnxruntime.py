"""An ONNX file in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prunebench.measuring.session import (
    Options,
    SessionSettings,
    open_session,
    options_in_force,
    session_options,
)

if TYPE_CHECKING:
    from prunebench.measuring.runtimes.loaded import FloatArray


class InOnnxRuntime:
    """``Loaded`` by onnxruntime; its error where it cannot load the file."""

    def __init__(
        self, path: str, threads: int, settings: SessionSettings, over: Options | None
    ) -> None:
        self._session = open_session(path, session_options(settings, threads, over))
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        (feed,) = self._session.get_inputs()
        self.shape: tuple[int, ...] | None = tuple(feed.shape)
        self._name = feed.name

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Outputs for one image."""
        outputs: list[FloatArray] = self._session.run(None, {self._name: image})
        return outputs

    def describe(self) -> dict[str, str]:
        """The options in force."""
        return options_in_force(self._session)
