"""A file system that breaks when it is told to: `faulty:///folder` keeps its objects in that folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

SUITABLE = {"half": ["put", "get", "write"], "short": ["get", "read"]}


class Faulty(LocalFileSystem):
    """Counts its operations, and breaks one or all.

    fault  the number of an operation, and how it, or the first suitable one after it, breaks: `before` it does
           anything, `half` way through what it writes, `after` it was done (its answer is lost), or `short`: what it
           reads ends early and nothing says so
    down   every operation from this number on breaks
    """

    protocol = "faulty"
    fault: tuple[int, str] | None = None
    down: int | None = None
    count = 0
    broke: list[str] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("faulty://")

    @contextmanager
    def _operation(self, what: str, written: Path | None = None) -> Iterator[bool]:
        """Whether what is read is to end early."""
        kind = ""
        if Faulty.fault and Faulty.count >= Faulty.fault[0] and what in SUITABLE.get(Faulty.fault[1], [what]):
            kind, Faulty.fault = Faulty.fault[1], None
        if Faulty.down is not None and Faulty.count >= Faulty.down:
            kind = "before"
        Faulty.count += 1
        if kind:
            Faulty.broke.append(f"{kind} {what}")
        if kind == "before":
            raise ConnectionResetError("the connection was reset")
        yield kind == "short"
        if kind in ("half", "after"):
            if kind == "half" and written is not None and written.is_file():
                written.write_bytes(written.read_bytes()[: written.stat().st_size // 2])
            raise ConnectionResetError("the connection was reset")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        with self._operation("put", Path(self._strip_protocol(rpath))):
            Path(self._strip_protocol(rpath)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(lpath, self._strip_protocol(rpath))

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        with self._operation("get", Path(lpath)) as short:
            shutil.copyfile(self._strip_protocol(rpath), lpath)
            if short:
                Path(lpath).write_bytes(Path(lpath).read_bytes()[:-1])

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        with self._operation("write", Path(self._strip_protocol(path))):
            super().pipe_file(path, value, mode=mode)

    def cat_file(self, path: str, **options: Any) -> bytes:
        with self._operation("read") as short:
            held = super().cat_file(path)
            return held[:-1] if short else held

    def find(self, path: str, **options: Any) -> Any:
        with self._operation("list"):
            return super().find(path, **options)

    def rm_file(self, path: str) -> None:
        with self._operation("remove"):
            super().rm_file(path)


fsspec.register_implementation("faulty", Faulty, clobber=True)


def mend() -> None:
    """Nothing breaks any more, and counting begins again."""
    Faulty.fault, Faulty.down, Faulty.count, Faulty.broke = None, None, 0, []
