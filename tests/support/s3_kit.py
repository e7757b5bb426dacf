"""A server that speaks S3 on loopback, as a program of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import boto3
from prefect_kit import free_port

STARTUP_S = 60
BUCKET = "prunebench"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class S3(NamedTuple):
    """A running server.

    Attributes:
        address: Its URL.
        pid: Its process.
    """

    address: str
    pid: int


@contextlib.contextmanager
def s3_server(port: int | None = None) -> Iterator[S3]:
    """A server with an empty bucket."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + STARTUP_S
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        ).create_bucket(Bucket=BUCKET)
        yield S3(address, process.pid)
    finally:
        process.kill()
        process.wait()
