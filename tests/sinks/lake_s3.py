"""An S3 server of the tests' own: moto's, in this process, with a bucket per place."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import pyarrow.fs as fs
import pytest
from moto.server import ThreadedMotoServer

# One for all rooms of the process: moto keeps buckets beyond its server's end.
_numbers = itertools.count()


class S3Room:
    """Buckets of one server; `options` are what a lake's sink takes."""

    def __init__(self, endpoint: str) -> None:
        self.options = {
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "cdc",
            "secret_access_key": "secret",
        }
        self._places: dict[str, str] = {}

    def location(self, place: str) -> str:
        """The place's prefix in a bucket of its own, empty at first."""
        if place not in self._places:
            bucket = f"lake-{next(_numbers)}"
            self.filesystem().create_dir(bucket)
            self._places[place] = f"s3://{bucket}/ta_bles"
        return self._places[place]

    def filesystem(self) -> fs.S3FileSystem:
        scheme, _, host = self.options["endpoint"].partition("://")
        return fs.S3FileSystem(
            access_key=self.options["access_key_id"],
            secret_key=self.options["secret_access_key"],
            region=self.options["region"],
            scheme=scheme,
            endpoint_override=host,
            allow_bucket_creation=True,
        )


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Room]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Room(f"http://{host}:{port}")
    server.stop()
