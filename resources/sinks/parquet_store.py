"""What plain Parquet tables need of a place beyond `LakeStore`: a new file put once, and moves.

In: names relative to the place. Out: a file of which only one writer can say that it made it,
which is the compare-and-set of a table without a catalog; files moved to where readers look.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.sinks.lake_store import LakeStore, storage_error

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

WRITING = ".writing"
"""Ends the names of files that a crash may leave behind, unfinished."""


class ParquetStore(LakeStore):
    """A place whose writers agree on which of them came first; see `LakeStore`."""

    def put_new(self, name: str, content: bytes) -> bool:
        """Write a small file unless there is one of this name, in full and durable.

        Returns:
            Whether it was written; False if there was one.

        Raises:
            ConfigError: Rights are missing, the bucket is, or obstore is not installed.
            SinkUnavailable: It may be there or not.
        """
        is_new = (
            self._link_new(Path(self.path(name)), content)
            if self.local
            else self._put_object(name, content)
        )
        failpoint("sink.lake.after_write")
        return is_new

    def move(self, old: str, new: str) -> None:
        """Give a file another name; nothing is done if it is gone, for then somebody else did."""
        with self.translated(old), suppress(FileNotFoundError):
            if self.local:
                source, target = Path(self.path(old)), Path(self.path(new))
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            else:
                self._copy_object(old, new)
                self.filesystem.delete_file(self.path(old))
        failpoint("sink.lake.after_write")

    def _copy_object(self, old: str, new: str) -> None:
        try:
            self.filesystem.copy_file(self.path(old), self.path(new))
        except OSError:
            if self.exists(old):
                raise
            raise FileNotFoundError(old) from None

    def _link_new(self, path: Path, content: bytes) -> bool:
        """Write a file aside and link it: a link is refused where there is a file."""
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}{WRITING}")
        with self.translated(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                path.hardlink_to(aside)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
        return True

    def _put_object(self, name: str, content: bytes) -> bool:
        """Put an object with `If-None-Match: *`, which pyarrow's file system cannot."""
        objects = self._objects
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        key = self.path(name).partition("/")[2]
        try:
            objects.put(key, content, mode="create")
        except (AlreadyExistsError, PreconditionError, FileExistsError):
            return False
        except (BaseError, OSError) as error:
            raise storage_error(error, self.url(name)) from None
        return True

    @cached_property
    def _objects(self) -> S3Store:
        try:
            from obstore.store import S3Store
        except ImportError:
            raise ConfigError(
                "Parquet tables in an object store need obstore",
                where=self.url(""),
                remedy="pip install 'cdc-assets[parquet]'",
            ) from None
        return S3Store(
            self.root.partition("/")[0],
            config=cast("S3Config", dict(self.options)),
            client_options={"allow_http": True},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        )
