"""Sharing the host's cores between the steps of a flow, and with other flows on the host."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

from prunebench.common.cores import usable_cores
from prunebench.measuring.host.lock import working_on_host
from prunebench.steps.events import stage


class CoreBudget:
    """Cores handed out in the order they are asked for, so that a large request is not starved."""

    def __init__(self, total: int) -> None:
        self._free = self._total = total
        self._changed = threading.Condition()
        self._next_ticket = 0
        self._served = 0

    @contextlib.contextmanager
    def take(self, cores: int) -> Iterator[None]:
        """Hold ``cores`` cores, at most all there are; wait for them where they are taken."""
        wanted = min(cores, self._total)
        with self._changed:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._changed.wait_for(lambda: self._served == ticket and self._free >= wanted)
            self._served += 1
            self._free -= wanted
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


_budget = CoreBudget(usable_cores())


@contextlib.contextmanager
def cores(count: int, variant: str, *, sign_in: bool = True) -> Iterator[None]:
    """Hold ``count`` cores for a step of ``variant`` while nobody measures on this host.

    With ``sign_in`` off the cores alone are held: the step measures, and signs itself in between.
    """

    def on_wait(sentence: str) -> None:
        stage(sentence, variant=variant)

    with _budget.take(count), working_on_host(on_wait) if sign_in else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def retraining(at_once: int, threads: int, variant: str) -> Iterator[None]:
    """Hold ``threads`` cores for a retraining of ``variant``, one of ``at_once`` at most."""
    with _retrainings(at_once).take(1), cores(threads, variant):
        yield


@functools.cache
def _retrainings(at_once: int) -> CoreBudget:
    """Places for retrainings: their threads alone do not say how many may run."""
    return CoreBudget(at_once)
