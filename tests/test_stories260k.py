"""A real checkpoint that nobody here trained: its published text, its tokenizer, and loading it by a hub id."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from command_line import bakeoff
from conftest import SHARED
from stories260k import convert, read_tokens

from harness.engine.results.schema import read_rows
from harness.errors import UserError
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.policy.types import Prompt, Sampling

torch.set_num_threads(1)
SOURCE = SHARED / "stories260k"
pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"the checkpoint of {SOURCE} is not here")

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
TEXTS = [
    "Once upon a time, there was a little girl named Lily.",
    " leading and  double   spaces ",
    "Tom said: “I don’t know – maybe 5 or 23?”\nThe end.\n\n",
    "naïve café, 漢字 and 🙂, bytes that no token holds",
    "aaaaaaaa thethethethe ing ing",
    "x",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(SOURCE, tmp_path_factory.mktemp("stories260k"))


def base_of(folder: Path) -> BaseModel:
    spec = BaseSpec(str(folder))
    return BaseModel(spec, locate(spec))


def greedily_merged(text: str, tokens: list[tuple[bytes, float]]) -> list[int]:
    """llama2.c's own encoding: characters (else bytes), then always the best-scored neighbours that make a token."""
    ids = {token: index for index, (token, _) in enumerate(tokens)}
    found: list[int] = []
    for character in " " + text:
        raw = character.encode()
        found += [ids[raw]] if raw in ids else [byte + 3 for byte in raw]
    while True:
        best, place = -1e10, -1
        for at in range(len(found) - 1):
            merged = ids.get(tokens[found[at]][0] + tokens[found[at + 1]][0], -1)
            if merged >= 0 and tokens[merged][1] > best:
                best, place, token = tokens[merged][1], at, merged
        if place < 0:
            return found
        found[place : place + 2] = [token]


def test_greedy_decoding_from_bos_writes_the_text_that_the_authors_publish(folder: Path) -> None:
    expected = (SOURCE / "EXPECTED.txt").read_text("utf-8")
    policy = base_of(folder).policy()
    ((completion,),) = policy.sample([Prompt(text="")], Sampling(max_new_tokens=256), ["story"])
    assert completion.text.rstrip() == expected.rstrip()
    assert len(completion.text) > 500


def test_the_text_it_writes_scores_as_greedy_and_another_ending_does_not(folder: Path) -> None:
    policy = base_of(folder).policy()
    beginning = "Once upon a time, there was a little girl named"
    right, wrong = policy.score([Prompt(text=beginning)] * 2, [" Lily", " banana"])
    assert right.is_greedy
    assert not wrong.is_greedy
    assert right.logprob > wrong.logprob + 5


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_merges_as_llama2_c_does(folder: Path, text: str) -> None:
    tokenizer = base_of(folder).tokenizer
    expected = greedily_merged(text, read_tokens(SOURCE / "tok512.bin"))
    assert tokenizer.encode(text, add_special_tokens=False) == expected
    assert tokenizer.encode(text) == [1, *expected]
    assert tokenizer.decode(expected) == text


def test_the_tokenizer_merges_a_whole_story_as_llama2_c_does(folder: Path) -> None:
    story = (SOURCE / "EXPECTED.txt").read_text("utf-8")
    ids = base_of(folder).tokenizer.encode(story, add_special_tokens=False)
    assert ids == greedily_merged(story, read_tokens(SOURCE / "tok512.bin"))
    assert len(ids) < len(story) / 2


def test_a_model_in_the_hubs_cache_loads_by_its_id_without_a_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--somebody--stories260k"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    for spec in (BaseSpec("somebody/stories260k"), BaseSpec("somebody/stories260k", revision=commit)):
        base = BaseModel(spec, locate(spec))
        assert base.folder.name == commit
        score = base.policy().score([Prompt(text="Once upon a")], [" time"])[0]
        assert score == base_of(folder).policy().score([Prompt(text="Once upon a")], [" time"])[0]
    with pytest.raises(UserError, match="somebody/else"):
        locate(BaseSpec("somebody/else"))


@pytest.mark.slow
def test_the_whole_matrix_of_the_demo_runs_on_it(folder: Path, tmp_path: Path) -> None:
    """Its own small base, which a chat template file lends turns; trained on 32 rows, asked a few items."""
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    model = f"{{name: {folder}, chat_template: {tmp_path / 'chat.jinja'}}}"
    settings = [f"bases=[{model}]", f"small_base={model}", "data_sizes=[32]"]
    settings += ["knowledge.limit=12", "instruction_following.limit=2", "instruction_following.max_new_tokens=12"]
    words = ["run", "demo.yaml", "--store", tmp_path / "store", "--out", tmp_path / "results"]
    done = bakeoff(*words, *[word for setting in settings for word in ("--set", setting)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 cells: 8 done" in done.stdout
    rows = read_rows(tmp_path / "results")
    assert set(rows["method"]) == {"base", "sft", "lora", "proxy"}
    assert set(rows["benchmark"]) == {"knowledge", "instruction_following"}
    assert rows["value"].notna().all()
    assert (tmp_path / "results" / "report.html").stat().st_size > 10_000
