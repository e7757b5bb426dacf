"""A device behind a real sshd of this host: a home of its own, and tools that can be faked."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prunebench.config.devices import SshDevice
from tests.conftest import missing_system_package

SSHD = "/usr/sbin/sshd"
SERVED = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
UsePAM no
Subsystem sftp /usr/lib/openssh/sftp-server
ForceCommand export HOME={home} PATH={tools}:$PATH TMPDIR={home}; {first}; cd {home}; \
eval "$SSH_ORIGINAL_COMMAND"
"""
NO_INDEX = "export PIP_NO_INDEX=1 PIP_FIND_LINKS="
KNOWN = "IdentityFile {keys}/user\nIdentitiesOnly yes\nUserKnownHostsFile {keys}/known\n"


class Board:
    """The device: where it is reached, its home, and its sshd; ``first`` is run in each session."""

    def __init__(self, folder: Path, first: str) -> None:
        self.home, self._tools, self._keys = (folder / n for n in ("home", "tools", "keys"))
        for path in (self.home, self._tools, self._keys):
            path.mkdir()
        for name in ("host", "user"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._keys / name)]
            subprocess.run(key, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        host_key = (self._keys / "host.pub").read_text()
        self.known = self._keys / "known"
        self.known.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (self._keys / "ssh_config").write_text(KNOWN.format(keys=self._keys))
        names = {
            "port": self.port,
            "keys": self._keys,
            "home": self.home,
            "tools": self._tools,
            "first": first,
        }
        (self._keys / "sshd_config").write_text(SERVED.format(**names))
        self._server: subprocess.Popen[bytes] | None = None

    def device(self, python: str | None = None) -> SshDevice:
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        return SshDevice(address=address, python=python)

    def start(self) -> None:
        command = [SSHD, "-D", "-e", "-f", str(self._keys / "sshd_config")]
        self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise AssertionError("sshd does not answer")

    def pull_cable(self) -> None:
        """End every connection at once, as if its cable were pulled."""
        assert self._server is not None
        for process in psutil.Process(self._server.pid).children(recursive=True):
            if process.name() == "sshd":
                process.kill()

    def stop(self) -> None:
        if self._server is not None:
            self.pull_cable()
            self._server.kill()
            self._server.wait()
            self._server = None

    @contextlib.contextmanager
    def saying(self, tool: str, answer: str) -> Iterator[None]:
        """Have a tool of the device answer so in the block."""
        path = self._tools / tool
        path.write_text(f"#!/bin/sh\necho '{answer}'\n")
        path.chmod(0o755)
        try:
            yield
        finally:
            path.unlink()


def served_board(
    folder: Path, monkeypatch: pytest.MonkeyPatch, first: str = NO_INDEX
) -> Iterator[Board]:
    """A board that answers, with this host's ``ssh`` and ``sftp`` told of its keys."""
    if not Path(SSHD).exists() or not Path("/usr/lib/openssh/sftp-server").exists():
        missing_system_package("needs sshd (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Where it drops its privileges.
    board = Board(folder, first)
    clients = folder / "clients"
    clients.mkdir()
    for tool in ("ssh", "sftp"):
        wrapper = clients / tool
        wrapper.write_text(
            f'#!/bin/sh\nexec {shutil.which(tool)} -F {folder}/keys/ssh_config "$@"\n'
        )
        wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{clients}:{os.environ['PATH']}")
    board.start()
    try:
        yield board
    finally:
        board.stop()
