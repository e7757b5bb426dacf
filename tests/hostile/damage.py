"""One thing done at random to a value or to bytes."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import yaml


def shared_folder() -> Path:
    """A folder for what many inputs begin with, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="prunebench-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def odd_value(rng: Random) -> Any:
    """A value of YAML that nobody expects."""
    return rng.choice(
        [
            None, True, 0, -1, 3, 10**20, 1.5, float("nan"), float("inf"), "", " ", "0", "..", "/",
            "~", "\0", "a\nb", "é한글🚀", "x" * 5000, [], [[]], [None], ["a", 1], {}, {"a": {}},
            {0: None}, {None: 0}, "/dev/null", "images", "!!python/object:os.system", "nan", "1e3",
        ]
    )  # fmt: skip


def damaged(rng: Random, content: bytes) -> bytes:
    """Bytes with one thing done to them."""
    place, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    noise = rng.randbytes(rng.randrange(1, 40))
    return rng.choice(
        [
            content[:place],
            content[place:],
            content[:place] + noise + content[place:],
            content[:place] + noise + content[place + len(noise) :],
            content[:place] + content[end:],
            content + noise,
            content + content,
            b"",
            noise,
            content.replace(b"\n", b"\r"),
            b"\xef\xbb\xbf" + content,
            content.decode("latin-1").encode("utf-16"),
        ]
    )


def mutated(rng: Random, values: Any) -> Any:
    """Nested values with one of them replaced, removed, or a key renamed."""
    if not isinstance(values, dict | list) or not values or rng.random() < 0.15:
        return odd_value(rng)
    copy: Any = values.copy()
    key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    kind = rng.random()
    if kind < 0.7:
        copy[key] = mutated(rng, copy[key])
    elif kind < 0.85 or isinstance(copy, list):
        del copy[key]
    else:
        copy[odd_key(rng)] = copy.pop(key)
    return copy


def odd_key(rng: Random) -> Any:
    value = odd_value(rng)
    return str(value) if isinstance(value, dict | list) else value


def write_yaml(rng: Random, path: Path, values: Any) -> None:
    text = yaml.safe_dump(values, allow_unicode=True).encode()
    path.write_bytes(damaged(rng, text) if rng.random() < 0.2 else text)
