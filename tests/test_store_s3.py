"""A store on an S3-compatible server (moto, on loopback): equal rows, broken connections, and a killed upload.

It needs s3fs (extra `s3`) and moto[server]; without them it is skipped, and tests/test_store_url.py tests the same
store on a file system that breaks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import outside
import pytest
from command_line import Done, bakeoff

pytest.importorskip("s3fs", reason="s3fs is not installed: no store on S3 is tested")
pytest.importorskip("moto.server", reason="moto[server] is not installed: no store on S3 is tested")

import boto3
from moto.server import ThreadedMotoServer

from harness.engine.store import mirror, remote

OPTIONS = {"methods": "[outside, {outside: {strength: 2.0}, as: two}]", "extra": "seeds: [0, 1]\n"}
FAULTS = 20


class Wire:
    """Hands connections on to the server, and breaks them where it is told to.

    passed  how many bytes went through it, both ways, over all connections
    cuts    after how many of these the connection in hand is cut
    kill    (after how many, the process that is killed)
    """

    def __init__(self, port: int) -> None:
        self.to, self.passed, self.broken = port, 0, 0
        self.cuts: list[int] = []
        self.kill: tuple[int, int] | None = None
        self._guard = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listening.accept()
            except OSError:
                return
            try:
                theirs = socket.create_connection(("127.0.0.1", self.to))
            except OSError:  # the server has ended
                ours.close()
                continue
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (held := source.recv(65536)) and not self._breaks(held, to):
                to.sendall(held)
        for one in (source, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _breaks(self, held: bytes, to: socket.socket) -> bool:
        """Whether the connection ends within these bytes; the first of them are still handed on."""
        with self._guard:
            before, self.passed = self.passed, self.passed + len(held)
            if self.kill and self.kill[0] < self.passed:
                os.kill(self.kill[1], signal.SIGKILL)
                self.kill = None
            if not self.cuts or self.cuts[0] >= self.passed:
                return False
            at = self.cuts.pop(0)
            self.broken += 1
        to.sendall(held[: max(0, at - before)])
        return True

    def begin(self, cuts: Iterable[int] = (), kill: tuple[int, int] | None = None) -> None:
        self.passed, self.broken, self.cuts, self.kill = 0, 0, sorted(cuts), kill

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def folder(outside_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outside package, and what a process needs to reach a server."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "BAKEOFF_CACHE": str(outside_folder / "one-machine"),
        "BAKEOFF_LEASE_SECONDS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "WAITS", (0.05, 0.1, 0.2))
    monkeypatch.setattr(mirror, "FRESH", 0.5)
    return outside_folder


@pytest.fixture
def wire(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server with a bucket, reached through the wire."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="bucket")
    through = Wire(port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{through.port}")
    yield through
    through.close()
    server.stop()


def run(folder: Path, store: object, *more: str, out: str = "out") -> Done:
    file = outside.experiment(folder, **OPTIONS)
    return bakeoff("run", file, "--store", store, "--out", folder / out, *more)


def in_a_child(folder: Path, store: object, *more: str, out: str = "out") -> int:
    """The same in a process of its own, whose id is given."""
    if child := os.fork():
        return child
    code = 99
    try:
        done = run(folder, store, *more, out=out)
        (folder / f"{out}.txt").write_text(done.stdout + done.stderr)
        code = done.returncode
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def rows(folder: Path) -> bytes:
    held = (folder / "out" / "rows.parquet").read_bytes()
    (folder / "out" / "rows.parquet").unlink()
    return held


def entries(wire: Wire, prefix: str) -> tuple[int, list[str]]:
    """(marked entries under a prefix of the bucket, those of them that are not whole)."""
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{wire.to}")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    names = {one["Key"] for page in pages for one in page.get("Contents", [])}

    def content(name: str) -> bytes:
        held: bytes = client.get_object(Bucket="bucket", Key=name)["Body"].read()
        return held

    markers = [one for one in names if f"{prefix}/state/artifacts/" in one or f"{prefix}/state/outcomes/" in one]
    half = []
    for marker in markers:
        for name, digest in json.loads(content(marker))["files"].items():
            file = f"{marker.replace('/state/', '/files/')}/{digest}"
            if file not in names or hashlib.sha256(content(file)).hexdigest() != digest:
                half.append(f"{marker}: {name}")
    return len(markers), half


def test_on_s3_the_rows_are_those_of_a_run_in_a_folder(wire: Wire, folder: Path) -> None:
    assert run(folder, folder / "store").returncode == 0
    wanted = rows(folder)
    done = run(folder, "s3://bucket/whole")
    assert done.returncode == 0, done.stderr
    assert (rows(folder), entries(wire, "whole")) == (wanted, (8, []))


@pytest.mark.slow
def test_with_20_cut_connections_the_rows_are_the_same_and_no_entry_is_half_there(
    wire: Wire, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five connections of each run are cut within a drawn byte; a second machine reads what the first has left."""
    assert run(folder, folder / "store").returncode == 0
    wanted = rows(folder)
    wire.begin()
    assert run(folder, "s3://bucket/uncut").returncode == 0
    rows(folder)
    size, draw, cut = wire.passed, random.Random(0), 0
    for number in range(4):
        wire.begin(draw.sample(range(size), FAULTS // 4))
        monkeypatch.setenv("BAKEOFF_CACHE", str(folder / f"first-{number}"))
        done = run(folder, f"s3://bucket/cut-{number}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (rows(folder), entries(wire, f"cut-{number}")) == (wanted, (8, []))
        cut += wire.broken
        wire.begin()
        monkeypatch.setenv("BAKEOFF_CACHE", str(folder / f"second-{number}"))
        planned = bakeoff("plan", folder / "experiment.yaml", "--store", f"s3://bucket/cut-{number}")
        assert "4 cells: 4 done" in planned.stdout
        assert "No cell to run" in run(folder, f"s3://bucket/cut-{number}").stdout
        assert rows(folder) == wanted
    print(f"\n{size:,} bytes a run; {cut} connections cut")
    assert cut == FAULTS


@pytest.mark.slow
def test_killed_in_the_middle_of_an_upload_the_next_run_ends_with_the_same_rows(
    wire: Wire, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by `kill -9` as a drawn byte passes; the next run is on the same machine, or on another one."""
    assert run(folder, folder / "store").returncode == 0
    wanted = rows(folder)
    wire.begin()
    assert run(folder, "s3://bucket/not-killed").returncode == 0
    rows(folder)
    size, draw = wire.passed, random.Random(1)
    for number in range(6):
        monkeypatch.setenv("BAKEOFF_CACHE", str(folder / f"killed-{number}"))
        wire.begin()
        at, child = (
            size * (number + 1) // 8 + draw.randrange(size // 20),
            in_a_child(folder, f"s3://bucket/killed-{number}"),
        )
        wire.kill = at, child
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        left, half = entries(wire, f"killed-{number}")
        assert half == []
        print(f"killed at byte {at:,} of {size:,}: {left} of 8 entries were marked")
        if number % 2:
            monkeypatch.setenv("BAKEOFF_CACHE", str(folder / f"other-{number}"))
        done = run(folder, f"s3://bucket/killed-{number}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (rows(folder), entries(wire, f"killed-{number}")) == (wanted, (8, []))


@pytest.mark.slow
def test_two_machines_share_the_work_and_end_with_the_same_rows(
    wire: Wire, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ("--set", "outside.seconds=4.0", "--set", "two.seconds=4.0")
    assert run(folder, folder / "store", *slow).returncode == 0
    wanted = rows(folder)
    child = in_a_child(folder, "s3://bucket/shared", *slow, out="other")
    monkeypatch.setenv("BAKEOFF_CACHE", str(folder / "other-machine"))
    done = run(folder, "s3://bucket/shared", *slow)
    assert os.waitpid(child, 0)[1] == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(folder) == (folder / "other" / "rows.parquet").read_bytes() == wanted
    fitted = [
        re.findall(r"(\d+) artifacts? fitted", said) for said in (done.stdout, (folder / "other.txt").read_text())
    ]
    print(f"\nartifacts fitted by each: {fitted}")
    assert sum(int(one) for told in fitted for one in told) == 4
    assert entries(wire, "shared") == (8, [])


def test_a_bucket_that_is_not_there_and_a_server_that_is_not_there_are_one_message_each(
    wire: Wire, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(folder, "s3://no-such-bucket/store")
    assert done.returncode == 2
    assert "the store is not there: FileNotFoundError" in done.stderr
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for verb in ("plan", "run"):
        done = bakeoff(verb, folder / "experiment.yaml", "--store", "s3://bucket/store")
        assert done.returncode == 2
        assert "the store does not answer: EndpointConnectionError" in done.stderr
