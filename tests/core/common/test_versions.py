"""Versions of the libraries, whichever distribution they come from."""

from __future__ import annotations

import importlib.metadata

import cv2
import pytest

from prunebench.common.versions import OPENCV, version_of


@pytest.mark.parametrize("installed", OPENCV)
def test_opencv_has_a_version_whichever_build_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    def version(name: str) -> str:
        if name != installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "5.0.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert version_of("opencv") == "5.0.0"


def test_it_is_the_installed_one() -> None:
    assert version_of("opencv").startswith(cv2.__version__)
