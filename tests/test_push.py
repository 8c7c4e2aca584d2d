"""`bakeoff push` against a stand-in of the hub on loopback, which keeps what huggingface_hub's own client sends it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import outside
import pyarrow.parquet
import pytest
from command_line import bakeoff
from huggingface_hub import constants

from harness.engine.hub import repository
from harness.errors import UserError

TOKEN = "hf_not_a_real_token"


@dataclass
class Hub:
    """What was asked for: repositories made, and of each the files of its commits. `status` refuses everything."""

    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 0
    url: str = ""

    def answer(self, path: str, body: bytes) -> Any:
        """The endpoints of the hub that `create_repo` and `create_commit` use, as huggingface_hub 2.4 calls them."""
        if path == "/api/repos/create":
            told = json.loads(body)
            repo = f"{told['organization']}/{told['name']}"
            self.made[repo] = told
            return {"url": f"{self.url}/{repo}", "id": repo, "name": repo}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        repo = "/".join(path.split("/")[3:5]) if path.startswith("/api/") else ""
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            large = (".parquet", "number.json")
            return {
                "files": [
                    {
                        "path": one["path"],
                        "shouldIgnore": False,
                        "uploadMode": "lfs" if one["path"].endswith(large) else "regular",
                    }
                    for one in asked
                ]
            }
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return {
                "transfer": "basic",
                "objects": [
                    {**one, "actions": {"upload": {"href": f"{self.url}/large/{one['oid']}"}}} for one in objects
                ],
            }
        if path.startswith("/large/"):
            self.large[path.removeprefix("/large/")] = body
            return {}
        if "/commit/" in path:
            for line in body.decode().splitlines():
                told = json.loads(line)
                value = told["value"]
                if told["key"] == "file":
                    self.files.setdefault(repo, {})[value["path"]] = base64.b64decode(value["content"])
                if told["key"] == "lfsFile":
                    self.files.setdefault(repo, {})[value["path"]] = self.large[value["oid"]]
            return {"commitUrl": f"{self.url}/{repo}/commit/{'0' * 40}", "commitOid": "0" * 40}
        raise AssertionError(path)  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answered(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.asked.append(self.path)
            if not self.path.startswith("/large/"):
                assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            told = {"error": f"refused {TOKEN}"} if found.status else found.answer(self.path.split("?")[0], body)
            sent = json.dumps(told).encode()
            self.send_response(found.status or 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PUT = do_GET = _answered  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", found.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(outside_folder: Path) -> Path:
    """A finished run of two methods at two seeds, with its store next to it."""
    file = outside.experiment(
        outside_folder, methods="[outside, {outside: {strength: 2}, as: strong}]", extra="seeds: [0, 1]"
    )
    done = bakeoff("run", file, "--store", outside_folder / "store", "--out", outside_folder / "results")
    assert done.returncode == 0, done.stderr
    return outside_folder


def pushed(run: Path, *words: object) -> Any:
    return bakeoff("push", run / "results", "lab/study", "--store", run / "store", *words)


def test_a_results_folder_and_an_artifact_arrive_on_the_hub_as_they_are(run: Path, hub: Hub) -> None:
    (run / "results" / "notes.txt").write_text("not part of the results")
    done = pushed(run, "--artifact", "strong/1=lab/strong", "--yes")
    assert done.returncode == 0, done.stderr
    assert {repo: (told.get("type", "model"), told["visibility"]) for repo, told in hub.made.items()} == {
        "lab/study": ("dataset", "private"),
        "lab/strong": ("model", "private"),
    }
    sent = hub.files["lab/study"]
    assert "notes.txt" not in sent
    copy = run / "copy"
    copy.mkdir()
    for name, content in sent.items():
        (copy / name).write_bytes(content)
    assert bakeoff("verify", copy).returncode == 0
    assert json.loads(hub.files["lab/strong"]["number.json"]) == {"strength": 2.0, "seed": 1}
    assert set(hub.files["lab/strong"]) == {"README.md", "number.json"}
    assert TOKEN not in done.stdout + done.stderr


def test_the_model_card_states_the_making_the_scores_and_their_limits(run: Path, hub: Hub) -> None:
    assert pushed(run, "--artifact", "strong/0=lab/strong", "--yes").returncode == 0
    card = hub.files["lab/strong"]["README.md"].decode()
    for said in (
        "# license: left to you",
        "- strength: 2.0",
        "seed 0",
        "95 % intervals",
        "## What may not be concluded",
        "the scores are of 2 training runs",
        "Base model: model: digest ",
    ):
        assert said in card
    assert "\nlicense:" not in card


def test_nothing_is_sent_by_default_or_by_a_dry_run_and_every_file_is_shown(run: Path, hub: Hub) -> None:
    asked = pushed(run)
    assert asked.returncode == 2
    assert "nothing is sent without a yes" in asked.stderr
    dry = pushed(run, "--dry-run")
    assert dry.returncode == 0
    assert "Nothing was sent." in dry.stdout
    for one in (asked, dry):
        assert "dataset repository lab/study (private, unless it exists already)" in one.stdout
        assert "rows.parquet" in one.stdout
        assert "samples.parquet and the report hold prompts, answers and references of outside_bench." in one.stdout
    assert hub.asked == []


def test_without_texts_no_file_holds_one_and_what_arrives_verifies(run: Path, hub: Hub) -> None:
    texts = pyarrow.parquet.read_table(run / "results" / "samples.parquet").to_pylist()
    marks = {word.encode() for one in texts for word in (one["prompt"], one["reference"], *one["completions"]) if word}
    assert marks
    done = pushed(run, "--without-texts", "--yes")
    assert done.returncode == 0, done.stderr
    assert "hold prompts" not in done.stdout
    copy = run / "copy"
    copy.mkdir()
    for name, content in hub.files["lab/study"].items():
        (copy / name).write_bytes(content)
    samples = pyarrow.parquet.read_table(copy / "samples.parquet")
    assert len(samples) == len(texts)
    assert {(one["prompt"], one["reference"], *one["completions"]) for one in samples.to_pylist()} == {("", "")}
    assert (copy / "rows.parquet").read_bytes() == (run / "results" / "rows.parquet").read_bytes()
    assert bakeoff("verify", copy).returncode == 0


def test_what_does_not_verify_is_refused_before_the_hub_is_asked(run: Path, hub: Hub) -> None:
    (run / "results" / "costs.json").write_text("{}")
    done = pushed(run, "--yes")
    assert done.returncode == 2
    assert "costs.json: it does not verify" in done.stderr
    assert hub.asked == []


@pytest.mark.parametrize("name", ["study", "lab/", "/study", "a/b/c", "lab/my study", "lab/..", "https://x/y", ""])
def test_a_name_without_its_owner_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not the name of a repository with its owner"):
        repository(name)


def test_a_missing_token_a_refusal_and_an_unreachable_hub_are_one_line_each(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, said in ((403, "does not allow this token to write (403)"), (400, "the hub refused with 400")):
        hub.status = status
        refused = pushed(run, "--yes")
        assert refused.returncode == 2
        assert said in refused.stderr
        assert TOKEN not in refused.stdout + refused.stderr
        assert len(refused.stderr.splitlines()) == 2
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached" in pushed(run, "--yes").stderr
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in pushed(run, "--yes").stderr
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    missing = pushed(run, "--yes")
    assert missing.returncode == 2
    assert "no token of the hub is set" in missing.stderr


def test_an_artifact_is_named_by_a_method_that_was_run_and_a_seed(run: Path, hub: Hub) -> None:
    for word, said in (
        ("strong", "names no repository for it"),
        ("strng=lab/x", "Did you mean 'strong'?"),
        ("strong=x", "is not the name of a repository"),
        ("strong=lab/x", "strong has 2 artifacts"),
        ("strong/7=lab/x", "no cell of strong/7 is done"),
    ):
        done = pushed(run, "--artifact", word, "--dry-run")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    elsewhere = bakeoff("push", run / "results", "lab/study", "--store", run / "no", "--artifact", "strong/0=lab/x")
    assert "no outcome of strong/0 is in this store" in elsewhere.stderr
    assert hub.asked == []
