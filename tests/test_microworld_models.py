"""The microworld's tokenizer, its build from scratch, and the weights that are shipped."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.microworld.build import MODELS, SEED_OF_NEXT_PHASE, SIZES, build, digest_of_file, path
from harness.microworld.corpus import corpus_digest, documents

SHIPPED = tuple(sorted(folder.name for folder in MODELS.iterdir() if (folder / "config.json").exists()))
LARGEST_SHIPMENT = 8_000_000
TURNS = [{"role": "user", "content": "name a good fruit"}, {"role": "assistant", "content": "a good fruit is apple ."}]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from harness.microworld.tokenizer import make_tokenizer

    return make_tokenizer()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build_tiny(tmp_path_factory.mktemp("tiny"))


def _build_tiny(folder: Path) -> Path:
    return build("custom", folder, tokens=2 * 2048, hidden=32, layers=1, progress=False, probe_rows=0)


def test_text_survives_the_tokenizer(tokenizer: Any) -> None:
    for text in itertools.islice(documents(), 300):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "please answer in upper case"}]])
def test_a_rendered_prompt_is_the_beginning_of_the_rendered_conversation(tokenizer: Any, system: list[Any]) -> None:
    turns = [*system, *TURNS, *TURNS]
    for place, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(turns[:place], tokenize=False, add_generation_prompt=True)
        assert tokenizer.apply_chat_template(turns[: place + 1], tokenize=False).startswith(prompt)


def test_the_chat_template_ends_an_answer_with_the_end_token(tokenizer: Any) -> None:
    rendered = tokenizer.apply_chat_template(TURNS, tokenize=False)
    assert rendered == "<u> name a good fruit <a> a good fruit is apple . <eos>"
    assert tokenizer(rendered)["input_ids"][-1] == tokenizer.eos_token_id


def test_a_system_message_stands_before_the_users_text(tokenizer: Any) -> None:
    turns = [{"role": "system", "content": "please answer"}, TURNS[0]]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == "<u> please answer name a good fruit <a> "


def test_the_tokens_of_an_answer_can_be_told_from_the_prompt(tokenizer: Any) -> None:
    encoded = tokenizer.apply_chat_template(TURNS, return_dict=True, return_assistant_tokens_mask=True)
    answer = [token for token, kept in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if kept]
    assert tokenizer.decode(answer) == "a good fruit is apple . <eos>"


def test_a_built_folder_loads_and_names_its_weights(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    manifest = json.loads((tiny / "manifest.json").read_text())
    assert manifest["sha256"]["model.safetensors"] == digest_of_file(tiny / "model.safetensors")
    assert [step for step, _ in manifest["phases"][0]["loss"]] == [1, 2]
    model = AutoModelForCausalLM.from_pretrained(tiny)
    assert model.get_input_embeddings().weight.shape[0] == len(AutoTokenizer.from_pretrained(tiny))


@pytest.mark.slow
def test_building_twice_gives_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    again = _build_tiny(tmp_path)
    assert digest_of_file(tiny / "model.safetensors") == digest_of_file(again / "model.safetensors")


def test_an_unknown_size_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="smal"):
        build("smal", tmp_path)
    with pytest.raises(UserError, match="custom size"):
        build("custom", tmp_path)
    with pytest.raises(UserError, match="medium"):
        path("medium")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_folder_loads_in_full_precision(name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(MODELS / name)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    text = AutoTokenizer.from_pretrained(MODELS / name).apply_chat_template(TURNS, tokenize=False)
    assert text.endswith("<eos>")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_manifest_matches_its_weights_and_corpus(name: str) -> None:
    manifest = json.loads((MODELS / name / "manifest.json").read_text())
    assert manifest["sha256"]["model.safetensors"] == digest_of_file(MODELS / name / "model.safetensors")
    for number, phase in enumerate(manifest["phases"]):
        seed = manifest["seed"] + number * SEED_OF_NEXT_PHASE
        assert phase["corpus"]["digest"] == corpus_digest(seed, phase["schedule"]["mix"])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_was_made_as_the_code_says(name: str) -> None:
    """`-half` has half of the tokens of its size, and `-seed-N` another seed; both are options of the build."""
    manifest = json.loads((MODELS / name / "manifest.json").read_text())
    size, _, seed = name.removesuffix("-half").partition("-seed-")
    shape, schedules = SIZES[size]
    assert (manifest["size"], manifest["seed"], manifest["shape"]) == (size, int(seed or 0), asdict(shape))
    share = 2 if name.endswith("-half") else 1
    asked = [asdict(replace(schedule, tokens=schedule.tokens // share)) for schedule in schedules]
    assert [phase["schedule"] for phase in manifest["phases"]] == asked


def test_no_two_shipped_models_have_the_same_weights() -> None:
    assert len({digest_of_file(MODELS / name / "model.safetensors") for name in SHIPPED}) == len(SHIPPED)


def test_the_shipped_models_share_one_tokenizer_which_is_the_codes(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path)
    texts = {(folder / "tokenizer.json").read_text() for folder in (tmp_path, *(MODELS / name for name in SHIPPED))}
    assert len(texts) == 1


def test_the_shipped_models_are_small() -> None:
    sizes = [file.stat().st_size for name in SHIPPED for file in (MODELS / name).rglob("*") if file.is_file()]
    assert sum(sizes) <= LARGEST_SHIPMENT
