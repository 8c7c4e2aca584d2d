"""A base model's tokenizer and template are checked by name; what is found is mended alike for every method."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from harness.engine.gate import checked_model
from harness.engine.results.provenance import _template
from harness.errors import UserError
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.encoding import PLAIN_TEMPLATE
from harness.policy.model_checks import check_model
from harness.policy.sources import locate
from harness.policy.types import Prompt
from harness.records import Message

SMALL = ROOT / "harness" / "microworld" / "models" / "small"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SMALL, tmp_path / "model"))


def edited(folder: Path, name: str, **changes: object) -> BaseModel:
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")
    return BaseModel(BaseSpec(str(folder)), folder)


def said(base: BaseModel) -> dict[str, str]:
    return {check.name: check.remedy for check in check_model(base) if check.remedy}


def appending(folder: Path) -> BaseModel:
    """The model with a tokenizer that puts its end of text behind every text, as some checkpoints are saved."""
    token, ids = "<eos>", BaseModel(BaseSpec(str(folder)), folder).tokenizer.convert_tokens_to_ids(["<eos>"])
    processor = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": token, "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": ids, "tokens": [token]}},
    }
    return edited(folder, "tokenizer.json", post_processor=processor)


def test_the_shipped_models_need_no_remedy() -> None:
    found = check_model(BaseModel(BaseSpec("microworld/small"), SMALL))
    assert all(check.passed and not check.remedy for check in found)
    assert len({check.name for check in found}) == len(found) == 8


def test_special_tokens_that_a_tokenizer_appends_belong_to_no_prompt(folder: Path) -> None:
    plain, base = BaseModel(BaseSpec("microworld/small"), SMALL), appending(folder)
    assert base.tokenizer("the")["input_ids"][-1] == base.tokenizer.eos_token_id
    assert "left out" in said(base)["special tokens"]
    for prompt in (Prompt(text="the capital of"), Prompt(messages=(Message("user", "hello"),))):
        assert base.encoder.encode(prompt, " the city") == plain.encoder.encode(prompt, " the city")


def test_more_tokens_than_embeddings_is_found_before_and_at_loading(folder: Path) -> None:
    base = BaseModel(BaseSpec(str(folder)), folder)
    base.tokenizer.add_tokens(["<new>"])
    (check,) = [check for check in check_model(base) if not check.passed]
    assert check.found == "the tokenizer has 1,737 tokens and the model 1,736 embeddings"
    with pytest.raises(UserError, match="1,737 tokens and the model 1,736 embeddings"):
        base.load()


def test_a_model_without_a_template_is_asked_plainly_and_stopped_at_its_next_turn(folder: Path) -> None:
    for file in folder.glob("*.jinja"):
        file.unlink()
    base = edited(folder, "tokenizer_config.json", chat_template=None)
    assert base.encoder.template == PLAIN_TEMPLATE
    assert "### User:" in base.encoder.turn_openers
    assert "plain format" in said(base)["template"]


def test_a_template_that_nothing_survives_fails_by_name(folder: Path) -> None:
    template = folder.parent / "dropping.jinja"
    template.write_text("{{ messages[0].content }}")
    found = check_model(BaseModel(BaseSpec(str(folder), chat_template=str(template)), folder))
    failed = {check.name for check in found if not check.passed}
    assert failed == {"turns", "start", "answers", "newlines", "end of turn"}


def test_the_verb_says_each_check_and_fails_where_one_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.check import check_model_verb

    assert check_model_verb("microworld/small", "", "") == 0
    assert "8 checks of microworld/small: 0 failed, 0 with a remedy." in capsys.readouterr().out
    edited(folder, "config.json", vocab_size=7)
    assert check_model_verb(str(folder), "", "") == 1
    assert "failed  vocabulary" in capsys.readouterr().out


def test_the_record_names_the_plain_template_with_its_text(folder: Path) -> None:
    def recorded(base: BaseModel) -> str:
        return _template(base, [asdict(check) for check in check_model(base)])

    assert recorded(BaseModel(BaseSpec(str(folder)), folder)) == "the tokenizer's"
    (folder / "chat_template.jinja").unlink()
    plain = edited(folder, "tokenizer_config.json", chat_template=None)
    assert plain.encoder.template == PLAIN_TEMPLATE
    assert recorded(plain).startswith("plain: it is asked in a plain format ('### User:\\nName a fruit.")


def test_a_template_that_loops_for_ever_is_refused_and_hangs_nothing(folder: Path) -> None:
    endless = "{% for _ in range(99999) %}{% for _ in range(99999) %}{% endfor %}{% endfor %}{{ messages }}"
    (folder / "chat_template.jinja").write_text(endless)
    with pytest.raises(
        UserError, match="its tokenizer was loaded, and then the check of its turns did not end within 2"
    ):
        checked_model(BaseModel(BaseSpec("x"), folder), seconds=2)


def test_the_time_that_loading_the_tokenizer_takes_is_not_held_against_the_template(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BaseModel._read

    def slowly(self: BaseModel, *given: Any) -> Any:
        time.sleep(3)
        return read(self, *given)

    monkeypatch.setattr(BaseModel, "_read", slowly)
    assert all(check.passed for check in checked_model(BaseModel(BaseSpec("x"), folder), seconds=5))


def test_a_revision_of_a_model_on_this_machine_is_refused(folder: Path) -> None:
    for name in (str(folder), "microworld/small"):
        with pytest.raises(UserError, match="is on this machine and has no revision 'v2'"):
            locate(BaseSpec(name, revision="v2"))
