"""Trainings of classifications on every image of their class folders, without writing beside them.

Ultralytics' dataset keeps which images it could read beside the folder of a split (``.cache``),
leaves the others out with a line in its log, and keeps decoded images beside them (``.npy``).
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from PIL import Image
from ultralytics.data.dataset import ClassificationDataset
from ultralytics.utils import NUM_THREADS

from prunebench.common.errors import DatasetError
from prunebench.config.sections import Cache
from prunebench.variants.retraining.caching import choose_cache


class EveryPicture(ClassificationDataset):
    """``ClassificationDataset`` of the given images; a DatasetError where one is missing.

    ``kept_in`` says afterwards where decoded images are: in memory, if that has room, or nowhere.
    """

    kept_in: Cache

    def __init__(
        self, root: Path, images: Collection[str], args: Any, cached_in: Path, **arguments: Any
    ) -> None:
        self._given, self._asked, self._cached_in = set(images), args, cached_in
        super().__init__(str(root), copy.copy(args), **arguments)

    def verify_images(self) -> list[tuple[str, int]]:
        """The given ones, or the share of them that a recipe asks for; they were checked before."""
        missing = self._given - {file for file, _ in self.base.samples}
        if missing:
            what = f"{min(missing)} is not found in the folders of the classes"
            raise DatasetError(what, where=self.root, fix="put it back")
        found = [(file, kind) for file, kind in self.samples if file in self._given]
        with ThreadPool(NUM_THREADS) as pool:
            sizes = pool.map(_size, [file for file, _ in found])
        asked = "none" if self._asked.cache == "disk" else self._asked.cache
        # They are kept as large as they are.
        most = max((max(size) for size in sizes), default=1)
        chosen = choose_cache(asked, sizes, most, self._cached_in)
        self.kept_in = "ram" if chosen == "ram" else "none"
        self.cache_ram, self.cache_disk = self.kept_in == "ram", False
        return found


def _size(file: str) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.height, image.width
