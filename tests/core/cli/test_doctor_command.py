"""The exit code of `prunebench doctor`, which a script before a measurement goes by."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from prunebench.cli import app
from prunebench.common.records import Interval
from prunebench.measuring.host import doctor
from prunebench.measuring.host.doctor import Finding, Level
from prunebench.variants.rewriting import choice


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("bad", 1)])
def test_it_tells_a_bad_host_from_a_doubtful_one(
    monkeypatch: pytest.MonkeyPatch, level: Level, code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding(level, "load", "Something is said.")])
    gain = {"halves": Interval(1.2, 1.1, 1.3)}
    found = choice.Passes(imgsz=(192, 320), faster=gain)
    monkeypatch.setattr(choice, "passes_for", lambda *asked: found)
    for arguments in (["doctor"], ["doctor", "--json"]):
        ended = CliRunner().invoke(app, arguments)
        assert (ended.exit_code, "Something is said." in ended.output) == (code, True)
        assert "split convolutions 1.20 [1.10, 1.30]" in " ".join(ended.output.split())
