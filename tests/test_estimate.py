"""Estimates of memory and work: sums worked by hand, shapes of models without weights, and the verb's table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from typer.testing import CliRunner

from harness.cli.estimating import in_total
from harness.cli.main import app
from harness.engine.config import load_experiment
from harness.engine.estimate import Estimator, Questioned, Work
from harness.engine.plan import make_plan
from harness.files import HARNESS
from harness.method import Footprint, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message
from harness.training.c_allocator import KEPT_SHARE
from harness.training.footprint import TrainingMemory, shape_of, training_memory, training_operations
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation
from methods.base import Base
from methods.dpo import Dpo
from methods.grpo import Grpo
from methods.lora import Lora
from methods.loreft import Loreft
from methods.sft import Sft

SMALL: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
# Qwen2.5-1.5B
LARGE = transformers.Qwen2Config(
    vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
    num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=32768,
)  # fmt: skip


def memory_of(config: Any, method: Method, *, rows: int, tokens: int, dtype: str = "float32") -> TrainingMemory:
    def footprint(model: Any) -> Footprint:
        return method.footprint(model) or Footprint(model)

    own = Optimisation.of(method)
    return training_memory(config, dtype, footprint, own, rows=rows, tokens=tokens, logits=rows * tokens)


def test_a_shape_counts_matrices_apart_from_embedding_and_head() -> None:
    shape = shape_of(transformers.LlamaConfig(**SMALL))
    # a layer: four attention matrices of 8 x 8, three of the feed-forward part of 8 x 16, two norms of 8
    layer = 4 * 64 + 3 * 128
    assert shape.matrices == 2 * layer == 1280
    assert shape.head == 20 * 8
    assert shape.parameters == 2 * (layer + 16) + 8 + 160 + 160 == 1640


def test_operations_of_a_pass_are_those_worked_by_hand() -> None:
    shape = shape_of(transformers.LlamaConfig(**SMALL))
    # 5 tokens: 2 per matrix parameter; attention 2 x (width 8) x (5 tokens) in two layers; logits of 3 positions
    assert shape.forward(5, logits=3) == 5 * (2 * 1280 + 2 * 2 * 8 * 5) + 2 * 160 * 3 == 14_560
    memory = memory_of(transformers.LlamaConfig(**SMALL), Sft(), rows=1, tokens=5)
    whole = training_operations(shape, memory, iter([(5, 3)]), checkpointing=False)
    assert whole == 3 * 14_560
    again = training_operations(shape, memory, iter([(5, 3)]), checkpointing=True)
    assert again == whole + shape.forward(5)


def test_a_window_limits_what_attention_reads() -> None:
    kinds = ["sliding_attention", "full_attention"]
    own = {**SMALL, "head_dim": 4, "sliding_window": 4, "layer_types": kinds, "tie_word_embeddings": True}
    shape = shape_of(transformers.Gemma3TextConfig(**own))
    # 100 tokens reach 50 on average, and 4 in the layer with the window; products of keys and of values, 2 each
    assert shape.forward(100) == 100 * (2 * 1280 + 4 * 8 * 50 + 4 * 8 * 4)


def test_bytes_of_a_full_fit_are_those_worked_by_hand() -> None:
    memory = memory_of(transformers.LlamaConfig(**SMALL), Sft(), rows=2, tokens=10)
    assert (memory.parameters, memory.trained) == (1640, 1640)
    assert memory.weights == memory.gradients == 4 * 1640
    assert memory.optimizer == 8 * 1640
    # logits, logarithms of probabilities and gradients of 20 positions
    assert memory.loss == 3 * 4 * 20 * 20


@pytest.mark.parametrize(("rows", "tokens"), [(1, 10), (2, 10), (1, 20)])
def test_activations_of_a_layer_are_those_worked_by_hand(rows: int, tokens: int) -> None:
    kept = [
        memory_of(transformers.LlamaConfig(**{**SMALL, "num_hidden_layers": layers}), Sft(), rows=rows, tokens=tokens)
        for layers in (1, 2)
    ]
    # per token: two norms with input, normalised and scaled states (6 x 8) and a scale each (2); query, key, value and
    # output (4 x 8) with a normaliser per head (2); gate, its activation, the other factor, the product (4 x 16); and
    # a row of the attention mask
    numbers = 6 * 8 + 2 + 4 * 8 + 2 + 4 * 16 + tokens
    assert kept[1].activations - kept[0].activations == 4 * rows * tokens * numbers


def test_a_peak_holds_activations_or_gradients_with_what_stays() -> None:
    memory = TrainingMemory(10, 10, weights=40, gradients=40, optimizer=80, activations=100, checkpointed=20, loss=5)
    one = {"accumulates": False, "first": True, "paged": False, "checkpointed": False}
    assert memory.peak(**one) == 40 + max(105, 120)
    assert memory.peak(**{**one, "first": False}) == 40 + 105 + 80
    assert memory.peak(**{**one, "first": False, "accumulates": True}) == 40 + 105 + 80 + 40
    assert memory.peak(**{**one, "first": False, "checkpointed": True}) == 40 + max(105, 120)
    assert memory.peak(**{**one, "first": False, "paged": True}) == 40 + 105


def test_what_the_c_library_retains_is_held_without_checkpointing() -> None:
    sizes = {"weights": 40, "gradients": 40, "optimizer": 80, "activations": 100, "checkpointed": 20, "loss": 5}
    memory = TrainingMemory(10, 10, **sizes, retained=30)
    one = {"accumulates": False, "first": False, "paged": False}
    assert memory.peak(**one, checkpointed=False) == 40 + 100 + 30 + 5 + 80
    assert memory.peak(**one, checkpointed=True) == 40 + max(20 + 5 + 80, 40 + 80)


def test_a_c_library_retains_a_share_of_what_a_forward_pass_frees_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter of rank 1 frees more: per matrix and token the base's output, the product and its scaled copy."""
    monkeypatch.setattr("harness.training.footprint.keeps_freed_blocks", lambda device: device == "cpu")
    config = transformers.LlamaConfig(**SMALL)
    sft, lora = (memory_of(config, method, rows=2, tokens=10) for method in (Sft(), Lora(rank=1)))
    # outputs of four matrices of width 8, two of 16 and one of 8, in two layers
    outputs = 4 * 20 * (5 * 8 + 2 * 16) * 2
    assert lora.retained - sft.retained == pytest.approx(KEPT_SHARE * 3 * outputs, rel=0.3)
    elsewhere = training_memory(
        config, "float32", Sft().footprint, Optimisation.of(Sft()), rows=2, tokens=10, logits=1, device="cuda"
    )
    assert elsewhere.retained == 0


def test_what_a_method_trains_is_counted_as_its_fit_counts_it() -> None:
    config = transformers.LlamaConfig(**SMALL)
    # rank 2: (in + out) x 2 of four matrices 8 x 8 and three 8 x 16, in two layers
    assert memory_of(config, Lora(rank=2), rows=1, tokens=4).trained == 2 * (4 * 16 + 3 * 24) * 2
    # one edit per layer: turn and weight (2, 8), bias (2)
    assert memory_of(config, Loreft(rank=2), rows=1, tokens=4).trained == 2 * (2 * 16 + 2)
    assert Base().footprint(None) is None


def test_a_frozen_base_needs_neither_gradients_nor_averages_of_its_weights() -> None:
    memory = memory_of(transformers.LlamaConfig(**SMALL), Lora(rank=1), rows=1, tokens=4, dtype="bfloat16")
    adapter = 2 * (4 * 16 + 3 * 24)
    assert memory.gradients == 4 * adapter
    assert memory.weights == 2 * 1640 + 4 * adapter


def test_of_a_1_5b_model_full_fits_need_80_gb_and_adapters_fit_in_24() -> None:
    rows, tokens = 4, 1024
    found = {
        "sft": memory_of(LARGE, Sft(), rows=rows, tokens=tokens, dtype="bfloat16"),
        "grpo": memory_of(LARGE, Grpo(), rows=rows, tokens=tokens, dtype="bfloat16"),
        "lora": memory_of(LARGE, Lora(), rows=rows, tokens=tokens, dtype="bfloat16"),
    }
    own = {"accumulates": True, "first": False, "paged": False}
    peaks = {name: memory.peak(**own, checkpointed=False) / 1e9 for name, memory in found.items()}
    small = {name: memory.peak(**own, checkpointed=True) / 1e9 for name, memory in found.items()}
    # 1.54 billion parameters x 16 bytes are 24.7 GB: more than 24 without one activation
    assert found["sft"].parameters == pytest.approx(1.5437e9, rel=1e-3)
    assert found["sft"].weights + found["sft"].gradients + found["sft"].optimizer == 16 * found["sft"].parameters
    assert 24 < small["sft"] < peaks["sft"] < 80
    # a start and a reference in float32 in addition: 2 x 6.2 GB
    assert found["grpo"].weights == 3 * found["sft"].weights
    assert peaks["grpo"] < 80
    # a frozen base takes 2 bytes a parameter, 3.1 GB, and the rest are activations
    assert found["lora"].weights / 1e9 == pytest.approx(3.1, abs=0.1)
    assert small["lora"] < 24
    assert found["lora"].activations / 1e9 > 5


def test_dpo_reads_both_answers_and_its_start() -> None:
    found = Dpo().footprint(torch.nn.Linear(2, 2))
    assert (found.per_pair, found.forwards, found.further) == (2, 1, 0)


def shipped() -> BaseModel:
    folder = HARNESS / "microworld" / "models" / "small"
    return BaseModel(BaseSpec("microworld/small"), folder)


def test_what_a_benchmark_asks_is_counted_and_equal_prompts_once() -> None:
    asked = Questioned(shipped())
    prompts = [Prompt(text="a b c"), Prompt(text="a b c"), Prompt(text="d e")]
    read = [asked.encoder.encode(prompt, "f") for prompt in prompts]
    asked.score(prompts, ["f"] * 3)
    one, _, other = (len(encoded.prompt) for encoded in read)
    following = sum(len(encoded.completion) for encoded in read)
    assert asked.read == one + other + following
    assert asked.scored == following
    asked.sample(prompts[:1], Sampling(max_new_tokens=7, samples=3), ["x"])
    assert asked.drawn == 21
    assert asked.rows == 3


def bare(folder: Path, **shape: Any) -> Path:
    """A folder with a configuration and a tokenizer, and no weights."""
    shutil.copytree(HARNESS / "microworld" / "models" / "small", folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | shape), "utf-8")
    return folder


def estimate(tmp_path: Path, base: str, *more: str) -> Any:
    file = tmp_path / "experiment.yaml"
    text = (
        f"bases: [{base}]\nthreads: 1\ndata: {{demonstrations: microworld/curated-1k}}\ndata_sizes: [16]\n"
        "methods: [base, sft, lora]\nbenchmarks: [knowledge]\nbaseline: base\n"
    )
    file.write_text(text, "utf-8")
    store = str(tmp_path / "store")
    return CliRunner().invoke(app, ["plan", str(file), "--estimate", "--store", store, *more])


def test_without_weights_memory_and_work_are_said_and_seconds_are_blank(tmp_path: Path) -> None:
    folder = bare(tmp_path / "wide", hidden_size=1024, intermediate_size=4096)
    done = estimate(tmp_path, f"{{name: {folder}, device: cpu}}", "--memory", "0.05,80", "--wide")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "the weights are not here" in said
    assert "In total" not in said
    assert "in 0.05 GB" in said
    assert "in 80 GB" in said
    row = next(line.split("│") for line in done.output.splitlines() if line.startswith("│ sft"))
    assert [cell.strip() for cell in row[-4:-1]] == ["–", "no", "yes"]
    assert not (tmp_path / "experiment").exists()


@pytest.mark.slow
def test_of_a_1_5b_shaped_folder_the_verb_says_what_fits_in_24_and_80_gb(tmp_path: Path) -> None:
    """Fully trained, 1.54 billion parameters x 16 bytes are over 24 GB before one activation; a frozen base is not."""
    shape = {name: getattr(LARGE, name) for name in ("vocab_size", "hidden_size", "intermediate_size",
             "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "tie_word_embeddings")}  # fmt: skip
    folder = bare(tmp_path / "large", **shape, head_dim=128)
    done = estimate(tmp_path, f"{{name: {folder}, device: cpu, dtype: bfloat16}}")
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.output.splitlines() if "│" in line]
    fits = {row[0].split(" ")[0]: row[-1] for row in rows}
    assert (fits["sft"], fits["lora"]) == ("80", "24, 80")


def test_with_weights_a_pass_is_timed(tmp_path: Path) -> None:
    done = estimate(tmp_path, "microworld/small")
    assert done.exit_code == 0, done.output
    row = next(line.split("│") for line in done.output.splitlines() if line.startswith("│ sft"))
    assert float(row[-3].replace(",", "")) > 0
    assert row[-2].strip() == "24, 80"
    tables = [line for line in done.output.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, tables)) <= 80
    assert "weights are not here" not in done.output
    said = " ".join(done.output.split())
    assert "for 2 fits and 3 cells that are not done, one after another, as timed now on a CPU with 1 thread." in said


def test_the_total_adds_what_is_known_and_counts_what_is_not() -> None:
    fits, cells = [Work(peak=1.0, seconds=3600.0)], [Work(peak=1.0, seconds=9000.0), Work(why="not known")]
    assert in_total(fits, cells, "cuda") == (
        "In total: about 3.5 h for 1 fit and 2 cells that are not done, one after another, as timed now on cuda, and "
        "more for 1 of them, whose seconds are not known."
    )
    assert in_total([], cells[1:], "cuda") == ""


def test_on_a_cpu_a_fit_of_a_large_model_is_weighed_by_a_piece_of_its_micro_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "experiment.yaml"
    methods = "[{sft: {batch_size: 16}}, {lora: {batch_size: 16}}, {sft: {batch_size: 16, packing: true}, as: packed}]"
    file.write_text(
        "bases: [{name: microworld/small, device: cpu}]\ndata: {demonstrations: microworld/curated-1k}\n"
        f"data_sizes: [32]\nmethods: {methods}\nbenchmarks: [knowledge]\nbaseline: sft\nreference: sft\n",
        "utf-8",
    )
    plan = make_plan(load_experiment(file), tmp_path / "store")
    whole, piece = Estimator(plan, timed=False), Estimator(plan, timed=False)
    of_whole = [whole.fit(node).parts["activations"] for node in whole.nodes]
    monkeypatch.setattr("harness.training.pieces.STATES", 1)  # one row at a time
    of_piece = [piece.fit(node).parts["activations"] for node in piece.nodes]
    assert all(one < other / 4 for one, other in zip(of_piece, of_whole, strict=True))
    assert all(one > other / 64 for one, other in zip(of_piece, of_whole, strict=True))


def test_a_fit_is_estimated_with_its_replayed_rows_and_with_the_prompts_that_it_trains(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "1 2 3 4"}, {"role": "assistant", "content": "5 6"}]
    (tmp_path / "other.jsonl").write_text(json.dumps({"messages": turns}) + "\n", "utf-8")
    file = tmp_path / "experiment.yaml"
    methods = "[sft, {sft: {loss_on: all}, as: whole}, {sft: {replay: {share: 0.2, data: other.jsonl}}, as: replaying}]"
    file.write_text(
        "bases: [microworld/small]\ndata: {demonstrations: microworld/curated-1k}\ndata_sizes: [16]\n"
        f"methods: {methods}\nbenchmarks: [knowledge]\n",
        "utf-8",
    )
    plan = make_plan(load_experiment(file), tmp_path / "store")
    estimator = Estimator(plan, timed=False)
    plain, whole, replaying = (estimator.fit(node) for node in estimator.nodes)
    encoder = shipped().encoder
    one = Demonstration(tuple(Message(**turn) for turn in turns), "x")  # 16 rows and 4 more, three times each
    length = len(training_rows([one], encoder).rows[0].input_ids)
    assert replaying.read == plain.read + 3 * 4 * length
    assert whole.read == plain.read
    assert whole.operations > plain.operations  # a logit for every token of a prompt


def test_sizes_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    done = estimate(tmp_path, "microworld/small", "--memory", "24GB")
    assert done.exit_code != 0
    assert "--memory is '24GB'" in str(done.exception)
