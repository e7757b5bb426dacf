"""The exit code of `prunebench doctor`, which a script before a measurement goes by."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from prunebench.cli import app
from prunebench.measuring.host import doctor
from prunebench.measuring.host.doctor import Finding, Level


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("bad", 1)])
def test_it_tells_a_bad_host_from_a_doubtful_one(
    monkeypatch: pytest.MonkeyPatch, level: Level, code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding(level, "load", "Something is said.")])
    for arguments in (["doctor"], ["doctor", "--json"]):
        ended = CliRunner().invoke(app, arguments)
        assert (ended.exit_code, "Something is said." in ended.output) == (code, True)
