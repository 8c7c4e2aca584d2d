"""Files behind a URL, through fsspec: the few operations that a store needs, each tried again where it breaks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness.engine.store.store import StoreBroken, is_disk_full
from harness.errors import UserError, did_you_mean, first_line

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of an operation that broke; one is drawn between half of it and all of it."""
PACKAGES = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Scheme -> the extra of bakeoff that brings its package. hf:// comes with huggingface_hub."""
OPTIONS: dict[str, dict[str, Any]] = {
    "file": {"auto_mkdir": True},
    # botocore would try again inside each try of ours
    "s3": {"config_kwargs": {"retries": {"max_attempts": 1}}},
}
LASTING = (PermissionError, NotImplementedError, TypeError, ImportError)
"""Errors that another try does not mend."""
T = TypeVar("T")


class RemoteFiles:
    """The objects under one URL. Names are relative to it; whatever breaks for good raises StoreBroken.

    Raises UserError for a scheme that no library here knows, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.files, self.root = _file_system(self.url)

    def listed(self, folder: str) -> dict[str, int]:
        """Every object under a folder, by its name relative to that folder, with its size in bytes."""
        start = f"{self.root}/{folder}/"

        def find() -> dict[str, int]:
            self.files.invalidate_cache()  # a listing of some seconds ago does not know other machines' work
            try:
                found = self.files.find(start, detail=True)
            except FileNotFoundError:
                return {}
            whole = self.files._strip_protocol(start).rstrip("/") + "/"
            return {name.split(whole, 1)[1]: int(info["size"] or 0) for name, info in found.items() if whole in name}

        return self._tried(find)

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None where there is none."""

        def cat() -> bytes | None:
            self.files.invalidate_cache()
            try:
                return bytes(self.files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

        return self._tried(cat)

    def write(self, name: str, content: bytes) -> None:
        """Write a small object, over one that is there."""
        self._tried(lambda: self.files.pipe_file(self._path(name), content), missing=True)

    def create(self, name: str, content: bytes) -> None:
        """Write it where there is none yet, as far as the backend can say so. Whether it was: read it back."""
        path = self._path(name)

        def pipe() -> None:
            try:
                self.files.pipe_file(path, content, mode="create")
            except Exception:
                # each backend has its own error for an object that is there already, and an answer may be lost
                self.files.invalidate_cache()
                if not self.files.exists(path):
                    raise

        self._tried(pipe, missing=True)

    def send(self, file: Path, name: str) -> None:
        """Copy a local file there."""
        self._tried(lambda: self.files.put_file(str(file), self._path(name)), missing=True)

    def fetch(self, name: str, file: Path) -> bool:
        """Copy an object to a local file; whether there is one. Raises OSError where the local disk is full."""

        def get() -> bool | OSError:
            try:
                self.files.get_file(self._path(name), str(file))
            except FileNotFoundError:
                return False
            except OSError as error:
                if is_disk_full(error):
                    return error
                raise
            return True

        found = self._tried(get)
        if isinstance(found, OSError):
            raise found
        return found

    def remove(self, name: str) -> None:
        """Delete an object, if there is one."""

        def rm() -> None:
            try:
                self.files.rm_file(self._path(name))
            except FileNotFoundError:
                return

        self._tried(rm)

    def changed(self, name: str) -> float | None:
        """When an object was last written, in seconds of the server's clock; None where it does not say."""

        def modified() -> float | None:
            self.files.invalidate_cache()
            try:
                return float(self.files.modified(self._path(name)).timestamp())
            except (FileNotFoundError, NotImplementedError, KeyError, AttributeError):
                return None

        return self._tried(modified)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _tried(self, do: Callable[[], T], *, missing: bool = False) -> T:
        """The result of `do`, tried again after each pause.

        missing  whether FileNotFoundError means that the place itself is missing: a bucket
        """
        for wait in (*WAITS, None):
            try:
                return do()
            except Exception as error:
                if wait is None or isinstance(error, LASTING) or (missing and isinstance(error, FileNotFoundError)):
                    why = f"the store {_how(error)}: {type(error).__name__}: {first_line(error)}"
                    fix = "Check the name, the connection and the credentials; finished work is kept."
                    raise StoreBroken(why, where=self.url, fix=fix) from error
            time.sleep(wait * random.uniform(0.5, 1.0))
        raise AssertionError


def _how(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "refuses"
    return "is not there" if isinstance(error, FileNotFoundError) else "does not answer"


def _file_system(url: str) -> tuple[Any, str]:
    """(fsspec's file system, the path in it) of a URL."""
    from fsspec.core import url_to_fs
    from fsspec.registry import get_filesystem_class, known_implementations, registry

    scheme = url.split("://")[0]
    if scheme not in {*known_implementations, *registry}:
        where, known = f"--store {url}", ["s3", "gs", "hf"]
        raise UserError(f"no library here knows {scheme}://", where=where, fix=did_you_mean(scheme, known))
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        extra = PACKAGES.get(scheme)
        fix = f"Run `pip install 'bakeoff[{extra}]'`." if extra else f"{first_line(error)}."
        raise UserError(f"{scheme}:// needs a package that is not installed", where=f"--store {url}", fix=fix) from None
    options = {"use_listings_cache": False, "skip_instance_cache": True, **OPTIONS.get(scheme, {})}
    try:
        files, root = url_to_fs(url, **options)
    except Exception as error:
        why = f"no store can be there: {first_line(error)}"
        raise UserError(why, where=f"--store {url}", fix="Give a URL such as s3://bucket/folder.") from error
    return files, root.rstrip("/")
