"""Trainings on the user's images as they are, on every one of them, without writing beside them.

Ultralytics' dataset keeps what it read of the labels in the user's folder (``.cache``), writes JPEG
files anew that do not end as it expects, removes ``.npy`` files that it cannot read, and leaves out
images and labels that it refuses with a line in its log. Its trainer looks for fonts, in the
network too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from PIL import Image
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import get_split_fraction
from ultralytics.utils import NUM_THREADS
from ultralytics.utils.patches import imread
from ultralytics.utils.torch_utils import unwrap_model

from prunebench.common.cores import threads_anywhere
from prunebench.common.errors import DatasetError
from prunebench.common.text import counted
from prunebench.data.dataset import Dataset, Split, image_names, read_dataset

LISTED = 5  # Images a sentence names.


class EveryImage(YOLODataset):
    """``YOLODataset`` of the given image files; a DatasetError where it cannot use one."""

    def __init__(self, images: Sequence[str], **arguments: Any) -> None:
        self._given = sorted(images)
        super().__init__(img_path=self._given, **arguments)

    def get_img_files(self, img_path: Any) -> list[str]:
        """The given files, or the first of them with ``fraction``, in Ultralytics' order."""
        share = self.fraction  # A number of images where it is whole.
        count = share if isinstance(share, int) else max(1, round(len(self._given) * share))
        return self._given[:count]

    def get_labels(self) -> list[dict[str, Any]]:
        """Labels as Ultralytics reads them, and sizes as the images are shown."""
        self.get_label_files()
        verify, arguments = self.verify_args()
        with tempfile.TemporaryDirectory() as folder, ThreadPool(NUM_THREADS) as pool:
            # Looked at in place of every image: only an image's own file would be written anew.
            stand_in = str(Path(folder) / "image.png")
            Image.new("RGB", (10, 10)).save(stand_in)

            def read(given: tuple[Any, ...]) -> tuple[dict[str, Any] | None, str]:
                label, *_, said = self.result_to_label(verify((stand_in, *given[1:])))
                image = imread(given[0], flags=self.cv2_flag)
                if label is None or image is None:
                    return None, said.partition("image/label: ")[2] or "it cannot be decoded"
                return label | {"im_file": given[0], "shape": image.shape[:2]}, ""

            found = list(pool.imap(read, arguments, chunksize=8))
        labels = [label for label, _ in found if label is not None]
        left_out = [
            f"{image} ({why})"
            for image, (label, why) in zip(self.im_files, found, strict=True)
            if label is None
        ]
        if left_out:
            more = f" and {len(left_out) - LISTED} more" if len(left_out) > LISTED else ""
            raise DatasetError(
                f"{counted(len(left_out), 'image')} of {len(found):,} would be left out of the "
                f"training: {'; '.join(left_out[:LISTED])}{more}",
                fix="restore the images and labels",
            )
        self.verify_labels(labels, Path(self.label_files[0]).parent)
        return labels

    def check_cache_ram(self, safety_margin: float = 1.0) -> bool:
        """Whether the images fit into memory; ``.npy`` files beside them are not looked at."""
        self.npy_files = [Path(file) / "none.npy" for file in self.im_files]
        return bool(super().check_cache_ram(safety_margin))


class _OnEveryImage:
    """What a trainer is made to read, put before its class."""

    args: Any
    model: Any
    data: dict[str, Any]
    _dataset: Dataset

    def get_dataset(self) -> dict[str, Any]:
        """What Ultralytics wants to know of a dataset, found without its checks and downloads."""
        dataset = self._dataset = read_dataset(Path(self.args.data))
        one = self.args.single_cls and len(dataset.names) > 1
        names = {0: "item"} if one else dataset.names
        return {
            "yaml_file": str(dataset.yaml),
            "path": dataset.root,
            "names": names,
            "nc": len(names),
            "channels": 3,
            "train": [str(path) for path in dataset.train],
            "val": [str(path) for path in dataset.val],
        }

    def build_dataset(self, img_path: Any, mode: Split = "train", batch: int | None = None) -> Any:
        """What Ultralytics' ``build_yolo_dataset`` builds, of every image of the split."""
        network: Any = unwrap_model(self.model)
        with threads_anywhere():
            return self._every_image(network, mode, batch)

    def _every_image(self, network: Any, mode: Split, batch: int | None) -> EveryImage:
        return EveryImage(
            image_names(self._dataset, mode),
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=mode == "train",
            hyp=self.args,
            rect=self.args.rect or mode == "val",
            cache=self.args.cache or None,
            single_cls=self.args.single_cls or False,
            stride=max(int(network.stride.max()), 32),
            pad=0.0 if mode == "train" else 0.5,
            prefix=f"{mode}: ",
            task=self.args.task,
            classes=self.args.classes,
            data=self.data,
            fraction=get_split_fraction(self.args.fraction, mode),
        )


def on_every_image(trainer: type[Any]) -> type[Any]:
    """A trainer class of Ultralytics' that reads the user's images so."""
    return type(trainer.__name__, (_OnEveryImage, trainer), {})
