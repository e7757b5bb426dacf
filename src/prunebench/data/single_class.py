"""A dataset whose objects are all of one class, as Ultralytics' ``single_cls`` makes of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prunebench.data.dataset import Dataset, image_names, read_dataset, splits_of
from prunebench.data.folder import make_once, write_data_yaml
from prunebench.data.labels import label_path


def as_one_class(dataset: Dataset, name: str, digest: str, cache_dir: Path) -> Dataset:
    """A checked dataset with class 0, called ``name``, in every label, made in ``cache_dir``.

    Its images are links to those of ``dataset``, of which ``digest`` is the digest.
    """
    parameters = {"data": str(dataset.yaml), "digest": digest, "name": name}
    key = hashlib.sha256(repr(parameters).encode()).hexdigest()[:16]

    def write(root: Path) -> None:
        for split in splits_of(dataset):
            images = root / "images" / split
            images.mkdir(parents=True)
            (root / "labels" / split).mkdir(parents=True)
            # Numbered, as images of several folders may have one name, and to keep their order.
            for index, image in enumerate(image_names(dataset, split)):
                link = images / f"{index:07d}-{Path(image).name}"
                link.symlink_to(image)
                labels = Path(label_path(image))
                if labels.is_file():
                    lines = labels.read_text(encoding="utf-8-sig").splitlines()
                    rows = [line.split(maxsplit=1)[1] for line in lines if line.strip()]
                    text = "".join(f"0 {row}\n" for row in rows)
                    Path(label_path(str(link))).write_text(text, encoding="utf-8")
        write_data_yaml(root, splits_of(dataset), {0: name}, dataset.about_keypoints)

    return read_dataset(make_once(cache_dir.absolute() / f"single-class-{key}", parameters, write))
