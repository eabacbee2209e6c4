"""Push from one clone, pull in another: a folder, and an S3-compatible server on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Shop

BUCKET = "mufin-test"


def second_clone(shop: Shop) -> Shop:
    root = shop.root.parent / "second"
    subprocess.run(["git", "clone", "-q", str(shop.root), str(root)], check=True)
    return Shop(root)


def test_a_folder(shop: Shop) -> None:
    shop.dvc("push", "-q")
    second = second_clone(shop)
    second.dvc("pull", "--allow-missing")
    assert second.artefact() == shop.artefact()
    assert second.artefact("catalog") == shop.artefact("catalog")
    rows = second.mufin("data", "history", "-d", "shop", MUFIN_ROOT=str(second.root)).stdout
    assert "First photographs" in rows
    assert " 60 " in rows


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server with an empty bucket; credentials lie in the environment alone."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


def test_s3(shop: Shop, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.dvc("remote", "add", "-d", "s3", f"s3://{BUCKET}/shop")
    shop.dvc("remote", "modify", "s3", "endpointurl", s3)
    shop.git("commit", "-qam", "Keep the data in S3")
    shop.dvc("push", "-q")
    assert "testing" not in (Path(".dvc") / "config").read_text()
    second = second_clone(shop)
    second.dvc("pull", "--allow-missing")
    assert second.artefact() == shop.artefact()
    assert second.artefact("catalog") == shop.artefact("catalog")
    # an earlier version is read from the remote, and only what is asked for
    shutil.rmtree(second.root / ".dvc" / "cache")
    assert second.mufin("data", "verify", "HEAD", MUFIN_ROOT=str(second.root)).returncode == 0
    assert os.listdir(second.root / ".dvc" / "cache")
