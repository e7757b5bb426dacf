"""Ctrl-C and SIGTERM end this process and what it started within seconds, whatever it is doing."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from prunebench.steps.child import end_children

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
"""Exit status, as a shell gives it after Ctrl-C: 128 + SIGINT."""

GRACE_S = 1.0
"""Time to end in order: to leave locks and temporary files, and to tell a server. What a run keeps
is whole after SIGKILL too."""


@contextlib.contextmanager
def ending_on_signals(ended: Callable[[], None]) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at either signal, and end all of it soon after.

    A main thread inside a library, or waiting for one of its own threads, does not hear of a
    signal; the thread started here does. It ends the children at once, so that nobody waits for
    them, and after ``GRACE_S`` this process with all below it, once it has called ``ended``.
    Call it from the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, ended), daemon=True).start()
    try:
        yield
    finally:
        if not _heard.is_set():
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGTERM, before)
            os.close(writer)


_heard = threading.Event()


def _watch(reader: int, ended: Callable[[], None]) -> None:
    # Python writes the number of every signal that has a handler; a closed pipe gives nothing.
    while number := os.read(reader, 1):
        if number[0] in SIGNALS:
            break
    else:
        os.close(reader)
        return
    _heard.set()
    end_children()
    time.sleep(GRACE_S)
    _kill_below()
    ended()
    os._exit(INTERRUPTED)


# Registered before any library's, and so the last to be called.
@atexit.register
def _kill_below() -> None:
    if _heard.is_set():
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
