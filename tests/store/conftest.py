"""Stores of each kind: a folder, this process's memory, and an S3 server that the tests start."""

import importlib.util
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grace_geom.store import Store


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of a bucket of a server on this machine; tests are skipped where moto or s3fs is
    missing.
    """
    for package in ("moto", "s3fs", "flask"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(
                f"the S3 server of the tests wants {package}: pip install moto[server] s3fs"
            )
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server(
        "127.0.0.1", 0, one_by_one(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "no_proxy": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        os.environ.pop("AWS_PROFILE", None)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="studies")
        yield "s3://studies"
    server.shutdown()


def one_by_one(answer: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """S3 answers a conditional write in one step; moto looks, then writes, in many threads."""
    lock = threading.Lock()

    def locked(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        with lock:
            return list(answer(environ, start))

    return locked


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh address of each kind."""
    if request.param == "folder":
        return str(tmp_path / "store")
    fresh = uuid.uuid4().hex[:8]
    if request.param == "memory":
        return f"memory://{fresh}"
    return f"{request.getfixturevalue('s3')}/{fresh}"


@pytest.fixture
def store(url: str) -> Store:
    """A fresh store of each kind."""
    return Store(url)
