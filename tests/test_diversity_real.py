"""Published prompts on a real checkpoint, compared between policies by words and by a sentence encoder's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from command_line import bakeoff
from conftest import SHARED
from stories260k import convert
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from harness.engine.results.schema import read_rows, read_table
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.policy.types import Prompt, Sampling
from harness.scoring.diversity.similarity import embedder, lexical

torch.set_num_threads(1)
SOURCE = SHARED / "stories260k"
pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"the checkpoint of {SOURCE} is not here")
SETS = {"novelty": "noveltybench/curated.jsonl", "mt": "mt_bench/mt_bench_question.jsonl"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(SOURCE, tmp_path_factory.mktemp("stories260k"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder with random weights: BERT's blocks, 16 wide; letters and a few marks are its words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz.,!?'\""]
    core = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder = tmp_path_factory.mktemp("encoder")
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        folder
    )
    return folder


def experiment(folder: Path, checkpoint: Path, prompts: Path, embedder: str) -> Path:
    """The checkpoint as it is and behind an instruction, two seeds; three prompts, four short answers each."""
    file = folder / "experiment.yaml"
    settings = {"prompts": str(prompts), "limit": 3, "samples": 4, "max_new_tokens": 8, "embedder": embedder}
    file.write_text(
        json.dumps(
            {
                "name": "real",
                "bases": [str(checkpoint)],
                "seeds": [0, 1],
                "threads": 1,
                "baseline": "base",
                "data": {"demonstrations": "microworld/curated-1k"},
                "methods": ["base", {"prompting": {"demonstrations": 0, "instruction": "Be brief."}}],
                "benchmarks": [{"diversity": settings}],
            }
        )
    )
    return file


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by"), [("novelty", "words"), ("mt", "words"), ("novelty", "encoder")])
def test_published_prompts_are_answered_and_compared(
    name: str, by: str, checkpoint: Path, encoder: Path, tmp_path: Path
) -> None:
    chosen = str(encoder) if by == "encoder" else ""
    file = experiment(tmp_path, checkpoint, SHARED / SETS[name], chosen)
    done = bakeoff("run", file, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_table(tmp_path, "joint")
    assert rows.groupby("kind")["seed"].count().gt(0).to_dict() == {"all": True, "methods": True, "seeds": True}
    assert rows["item"].nunique() == 3
    similarity = rows[rows["metric"] == "similarity"]["value"]
    assert len(similarity) == (2 + 2 + 2) * 3
    assert similarity.between(-1, 1).all()
    assert {"floor", "alike", "mix", "excess"} <= set(rows["metric"])
    assert {"together", "overlap"}.isdisjoint(rows["metric"])
    assert set(read_table(tmp_path, "excerpts")["title"]) == {"most alike", "most different"}
    assert set(read_rows(tmp_path)["metric"]) == {"similarity", "agreement", "distinct", "vendi"}
    report = (tmp_path / "report.md").read_text()
    assert "Policies with one another" in report
    assert ("lexical" in report) == (by == "words")
    assert "Nothing to do" in bakeoff("run", file, "--store", tmp_path / "store").stdout


def test_the_same_noise_and_policy_give_a_similarity_of_one_at_the_same_index(checkpoint: Path, encoder: Path) -> None:
    """The control of the hivemind metric: with the key of its own a policy answers anew, with another's it repeats."""
    spec = BaseSpec(str(checkpoint))
    policy = BaseModel(spec, locate(spec)).policy()
    prompts = [Prompt(text="Once upon a time"), Prompt(text="The dog")]

    def answers(salt: str) -> list[list[str]]:
        sampling = Sampling(12, 1.0, 0.9, samples=6, seed=1, salt=salt)
        return [[answer.text for answer in row] for row in policy.sample(prompts, sampling, ["a", "b"])]

    one, same, other = answers("mine"), answers("mine"), answers("another's")
    assert one == same != other
    for embed in (lexical, embedder(str(encoder))):
        for row, again, apart in zip(one, same, other, strict=True):
            assert (embed(row) * embed(again)).sum(axis=1).mean() == pytest.approx(1.0, abs=1e-12)
            assert (embed(row) * embed(apart)).sum(axis=1).mean() < 1 - 1e-6
