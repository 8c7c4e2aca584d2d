"""`backend: vllm`, against a stand-in of its interface: equal scores and greedy answers, and where it is used."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import stub_vllm
from rich.console import Console

from harness.engine import run
from harness.engine.config import load_experiment
from harness.engine.plan import Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.results.write import write_results
from harness.engine.store.store import Store
from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel
from harness.policy.causal import CausalPolicy
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt, Sampling
from harness.policy.vllm_policy import VllmPolicy
from harness.records import Demonstration, Message, TrainingData
from harness.report.collect import collect
from methods.lora import Lora
from methods.sft import Sft

ASKED = [Prompt(messages=(Message("user", text),)) for text in ("hello", "name a color", "count: 1 2 3")]
ANSWERS = ["hello to you", "red", "4 5 6"]
KEYS = ["a", "b", "c"]


@pytest.fixture
def base() -> BaseModel:
    return base_model_of("microworld/small")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> type[stub_vllm.LLM]:
    return stub_vllm.install(monkeypatch)


def test_scores_are_those_of_the_own_code(base: BaseModel, stub: type[stub_vllm.LLM]) -> None:
    own, other = base.policy(), VllmPolicy(base, base.folder)
    texts = [Prompt(text="once upon a time"), Prompt(), Prompt(messages=ASKED[0].messages, assistant_prefix="well, ")]
    prompts = [*ASKED, *texts]
    answers = [*ANSWERS, " there was", "a text", "hello"]
    for mine, theirs in zip(own.score(prompts, answers), other.score(prompts, answers), strict=True):
        assert theirs.logprob == pytest.approx(mine.logprob, abs=1e-3)
        assert theirs.token_logprobs == pytest.approx(mine.token_logprobs, abs=1e-3)
        assert (theirs.tokens, theirs.is_greedy) == (mine.tokens, mine.is_greedy)


def test_greedy_answers_are_those_of_the_own_code(base: BaseModel, stub: type[stub_vllm.LLM]) -> None:
    other = VllmPolicy(base, base.folder)
    for sampling in (Sampling(12), Sampling(12, stop=("e",)), Sampling(1)):
        assert other.sample(ASKED, sampling, KEYS) == base.policy().sample(ASKED, sampling, KEYS)
    scored = other.score(ASKED, [drawn[0].text for drawn in other.sample(ASKED, Sampling(4), KEYS)])
    assert scored[0].is_greedy


def test_draws_depend_on_seed_and_item_alone(base: BaseModel, stub: type[stub_vllm.LLM]) -> None:
    other = VllmPolicy(base, base.folder)
    sampling = Sampling(8, temperature=1.0, samples=2, seed=3)
    drawn = other.sample(ASKED, sampling, KEYS)
    assert [len(one) for one in drawn] == [2, 2, 2]
    assert other.sample(ASKED[::-1], sampling, KEYS[::-1]) == drawn[::-1]
    assert drawn[0][0] != drawn[0][1]
    assert other.sample(ASKED, Sampling(8, temperature=1.0, samples=2, seed=4), KEYS) != drawn


def test_a_prompt_that_is_too_long_is_cut_to_leave_room_for_one_token(
    base: BaseModel, stub: type[stub_vllm.LLM]
) -> None:
    other = VllmPolicy(base, base.folder)
    (score,) = other.score([Prompt(text="word " * base.max_length)], ["end"])
    assert score.truncated
    ((completion,),) = other.sample([Prompt(text="word " * base.max_length)], Sampling(3), ["k"])
    assert completion.truncated


def test_an_adapter_is_applied_to_the_base(base: BaseModel, stub: type[stub_vllm.LLM], tmp_path: Path) -> None:
    method = Lora(learning_rate=1e-2, epochs=2, batch_size=2, rank=4)
    rows = tuple(
        Demonstration((*one.messages, Message("assistant", two)), two) for one, two in zip(ASKED, ANSWERS, strict=True)
    )
    method.fit(base, TrainingData(demonstrations=rows), {}, tmp_path, FitContext(0, 2))
    own, other = method.load(base, tmp_path, {}), VllmPolicy(base, base.folder, tmp_path, 4)
    assert stub.made[-1] == {"model": str(base.folder), "enable_lora": True, "max_lora_rank": 8}
    mine, theirs, plain = (policy.score(ASKED, ANSWERS)[1].logprob for policy in (own, other, base.policy()))
    assert theirs == pytest.approx(mine, abs=1e-3)
    assert abs(mine - plain) > 0.1


def planned(folder: Path, methods: str, benchmarks: str = "[perplexity, divergence]") -> Plan:
    file = folder / "backend.yaml"
    file.write_text(
        "bases: [{name: microworld/small, as: own}, {name: microworld/small, backend: vllm, as: served}]\n"
        "data: {demonstrations: microworld/curated-1k}\ndata_sizes: [8]\n"
        f"methods: {methods}\nbenchmarks: {benchmarks}\nthreads: 1\nbaseline: base\n"
    )
    return make_plan(load_experiment(file), folder / "store")


def test_the_plan_says_what_scores_which_cell(tmp_path: Path) -> None:
    plan = planned(tmp_path, "[base, sft, lora, {lora: {dora: true}, as: dora}, prompting]")
    found = {(c.entry.label, c.column.label, c.node.base.spec.label): c.backend for c in plan.cells}
    assert {found[label, "perplexity", "served"].name for label in ("base", "sft", "lora")} == {"vllm"}
    assert found["dora", "perplexity", "served"].why == "no backend applies dora"
    assert found["prompting", "perplexity", "served"].why == "its policy is more than weights"
    assert found["base", "divergence", "served"].why == "the benchmark reads logits or asks the base too"
    assert all(not one.name and not one.why for place, one in found.items() if place[2] == "own")


def test_what_is_kept_in_float32_is_not_given_to_a_backend_that_computes_in_bfloat16() -> None:
    assert "merged in float32" in str(Lora().plain_weights("bfloat16"))
    assert not isinstance(Lora(merged_in="base").plain_weights("bfloat16"), str)
    assert not isinstance(Lora().plain_weights("float32"), str)
    assert "saved in float32" in str(Sft().plain_weights("bfloat16"))
    assert not isinstance(Sft(saved_in="base").plain_weights("bfloat16"), str)
    assert not isinstance(Sft().plain_weights("float32"), str)


def test_the_backend_is_in_the_key_of_the_outcomes_that_it_scores_and_of_no_artifact(tmp_path: Path) -> None:
    plan = planned(tmp_path, "[base, prompting]", "[perplexity]")
    documents = {(cell.entry.label, cell.node.base.spec.label): cell.document for cell in plan.cells}
    assert documents["base", "served"]["backend"] == {"vllm": "not installed"}
    assert "backend" not in documents["prompting", "served"]
    assert "backend" not in documents["base", "own"]
    assert all("backend" not in json.dumps(cell.node.document) for cell in plan.cells)


def test_without_vllm_a_run_says_how_to_install_it(tmp_path: Path) -> None:
    with Progress(Console(file=StringIO())) as progress, pytest.raises(UserError, match=r"bakeoff\[vllm\]"):
        run.run_plan(planned(tmp_path, "[base]", "[perplexity]"), Store(tmp_path / "store"), progress)


def test_a_run_scores_with_both_and_the_audit_flags_the_mix(tmp_path: Path, stub: type[stub_vllm.LLM]) -> None:
    plan, store = planned(tmp_path, "[base, prompting]", "[{perplexity: {limit: 2}}]"), Store(tmp_path / "store")
    heard = StringIO()
    with Progress(Console(file=heard, width=200)) as progress:
        tally = run.run_plan(plan, store, progress)
    assert not tally.failed, heard.getvalue()
    assert len(stub.made) == 1
    write_results(plan, store, tmp_path / "results")
    model = collect(tmp_path / "results")
    by_base = {block.base: block.audit for block in model.blocks}
    fields = {field.name: field.values for field in by_base["served"].fields}
    assert fields["backend of perplexity"] == {"base": "vllm", "prompting": "transformers"}
    assert any("backend of perplexity" in names for _, _, names in by_base["served"].pairs)
    assert "backend of perplexity" not in [field.name for field in by_base["own"].fields]
    assert model.models["served"]["backend"] == "vllm"
    assert "backend" not in model.models["own"]


def test_the_policy_of_a_plain_method_stays_the_own_one_in_training(base: BaseModel) -> None:
    """A fit never depends on the backend: what a method is built on is loaded by the project's own code."""
    assert type(base.policy()) is CausalPolicy
