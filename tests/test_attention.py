"""The attention implementation of a base: it reaches the library, is refused where it is missing, and is in keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_sampling import some_prompts, tiny_llama, word_tokenizer

from harness.engine.config import load_experiment
from harness.engine.plan import base_document
from harness.errors import UserError
from harness.policy.base_model import BaseModel, BaseSpec


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def using(base: BaseModel, attention: str) -> BaseModel:
    return BaseModel(replace(base.spec, attention=attention), base.folder)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_named_implementation_runs_and_scores_alike(base: BaseModel, attention: str) -> None:
    policy = using(base, attention).policy()
    assert policy.model.config._attn_implementation == attention
    prompts = some_prompts(5)
    pairs = zip(policy.score(prompts, ["w1 w2"] * 5), base.policy().score(prompts, ["w1 w2"] * 5), strict=True)
    for own, usual in pairs:
        assert own.logprob == pytest.approx(usual.logprob, abs=1e-5)


def test_an_implementation_whose_library_is_missing_is_refused_in_words(base: BaseModel) -> None:
    with pytest.raises(UserError, match=r"(?i)the model does not load: .*flash"):
        using(base, "flash_attention_2").load()


def test_it_is_part_of_the_key_only_where_it_is_set(base: BaseModel) -> None:
    assert "attention" not in base_document(base)
    assert base_document(using(base, "eager")) == {**base_document(base), "attention": "eager"}


def test_an_experiment_names_it_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    text = "methods: [base]\nbenchmarks: [knowledge]\nbases: [{{name: microworld/small, attention: {}}}]\nseeds: [0]\n"
    (tmp_path / "one.yaml").write_text(text.format("eager"))
    assert load_experiment(tmp_path / "one.yaml").bases[0].attention == "eager"
    (tmp_path / "two.yaml").write_text(text.format("linear"))
    with pytest.raises(UserError, match="attention"):
        load_experiment(tmp_path / "two.yaml")
