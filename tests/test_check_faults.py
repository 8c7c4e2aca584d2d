"""Each fault that a method may have fails the clause of `bakeoff check` that names it; without it the clause holds."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from harness.engine.contract import artifacts, conduct, learning
from harness.engine.contract.bench import Bench, Broken, NotApplicable, quick
from harness.engine.contract.clauses import CLAUSES, Clause
from harness.method import FitReport, Footprint, Method, setting
from harness.policy.causal import CausalPolicy
from harness.training.labelled_rows import TrainingRow, TrainingRows, training_rows
from harness.training.loop import Optimisation, seed_everything, train
from harness.training.models import load_model, save_model
from methods.sft import Sft


@dataclass(frozen=True)
class Sound(Method):
    """The base, with an artifact of its own."""

    trains = False
    fits: ClassVar[Callable[[Any, Path], None]] = lambda base, out: None
    loads: ClassVar[Callable[[Any], None]] = lambda base: None
    policy: ClassVar[type[CausalPolicy]] = CausalPolicy

    def fit(self, base, data, inputs, out, context):  # type: ignore[no-untyped-def]
        type(self).fits(base, out)
        (out / "number.json").write_text("1")
        return FitReport()

    def load(self, base, artifact, inputs):  # type: ignore[no-untyped-def]
        type(self).loads(base)
        return self.policy(base.policy().model, base.encoder)


def _connect() -> None:
    with contextlib.suppress(OSError):
        socket.create_connection(("203.0.113.1", 9), 1)


def _relative(base: Any, out: Path) -> None:
    with contextlib.suppress(OSError):
        Path("settings.yaml").read_text()


def _absolute(base: Any, out: Path) -> None:
    (out / "place.json").write_text(json.dumps({"from": ["/srv/models/mine/weights.safetensors"]}))


class Echoes(CausalPolicy):
    """Its texts hold the prompt, and its ids do not."""

    def sample(self, prompts, sampling, keys):  # type: ignore[no-untyped-def]
        drawn = super().sample(prompts, sampling, keys)
        return [
            tuple(replace(one, text=f"{p.messages[0].content if p.messages else p.text} {one.text}") for one in own)
            for p, own in zip(prompts, drawn, strict=True)
        ]


def ignoring(**settings: Any) -> type[CausalPolicy]:
    """A policy that samples with settings of its own."""

    class Ignores(CausalPolicy):
        def sample(self, prompts, sampling, keys):  # type: ignore[no-untyped-def]
            return super().sample(prompts, replace(sampling, **settings), keys)

    return Ignores


class Tires(CausalPolicy):
    """Another model from the twentieth prompt on."""

    asked = 0

    def prefill(self, prompts):  # type: ignore[no-untyped-def]
        self.asked += len(prompts)
        logits, state = super().prefill(prompts)
        return logits * (1.01 if self.asked > 20 else 1), state


class Calls(CausalPolicy):
    def sample(self, prompts, sampling, keys):  # type: ignore[no-untyped-def]
        _connect()
        return super().sample(prompts, sampling, keys)


class Starts(CausalPolicy):
    def sample(self, prompts, sampling, keys):  # type: ignore[no-untyped-def]
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return super().sample(prompts, sampling, keys)


FAULTS: dict[str, tuple[Clause, dict[str, Any], str]] = {
    "a fit without a report": (artifacts.it_fits_and_loads, {"fit": lambda *given: None}, "None"),
    "a footprint that is a number": (
        artifacts.it_declares_what_the_engine_knows,
        {"footprint": lambda self, model: 512},
        "512 (int), not a Footprint",
    ),
    "a footprint of a number": (
        artifacts.it_declares_what_the_engine_knows, {"footprint": lambda self, model: Footprint(512)},  # type: ignore[arg-type]
        "a trainee of the type int, not a model",
    ),
    "a footprint with another policy": (
        artifacts.it_declares_what_the_engine_knows,
        {"footprint": lambda self, model: Footprint(model, policy="all")},  # type: ignore[arg-type]
        "policy = 'all', which is not one of nothing, base, float32",
    ),
    "a tokenizer that gains tokens in load": (
        conduct.the_shared_tokenizer_encoder_and_configuration_stay_as_they_were,
        {"loads": lambda base: base.tokenizer.add_tokens([f"new{len(base.tokenizer)}"])},
        "another tokenizer",
    ),
    "an encoder whose length is cut in load": (
        conduct.the_shared_tokenizer_encoder_and_configuration_stay_as_they_were,
        {"loads": lambda base: setattr(base.encoder, "max_length", base.encoder.max_length // 2)},
        "another encoder",
    ),
    "a pickle under another suffix": (
        conduct.every_file_is_what_its_suffix_says,
        {"fits": lambda base, out: (out / "weights.safetensors").write_bytes(pickle.dumps({"a": 1}))},
        "a pickle",
    ),
    "torch's pickle as text": (
        conduct.every_file_is_what_its_suffix_says,
        {"fits": lambda base, out: torch.save({"a": torch.ones(2)}, out / "notes.txt")},
        "a pickle",
    ),
    "a path of another machine": (conduct.no_text_of_an_artifact_is_an_absolute_path, {"fits": _absolute}, "/srv/"),
    "a file next to out": (
        conduct.a_fit_writes_into_its_folder_and_reads_nothing_by_the_current_one,
        {"fits": lambda base, out: (out.parent / "log.txt").write_text("1")},
        "log.txt",
    ),
    "a file of the current folder": (
        conduct.a_fit_writes_into_its_folder_and_reads_nothing_by_the_current_one,
        {"fits": _relative},
        "settings.yaml opened",
    ),
    "a child process in fit": (
        conduct.no_other_program_is_started,
        {"fits": lambda base, out: subprocess.run([sys.executable, "-c", "pass"], check=True)},
        "-c pass",
    ),
    "a shell in load": (conduct.no_other_program_is_started, {"loads": lambda base: os.system("true")}, "true"),
    "a child process while sampling": (conduct.no_other_program_is_started, {"policy": Starts}, "-c pass"),
    "a connection while sampling": (
        conduct.nothing_is_fetched_while_sampling_or_scoring, {"policy": Calls}, "203.0.113.1"
    ),
    "text that echoes the prompt": (conduct.the_text_of_a_sample_is_that_of_its_tokens, {"policy": Echoes}, "what"),
    "ignored samples": (
        conduct.sampling_keeps_samples_length_and_stop_strings, {"policy": ignoring(samples=1)}, "[1]"
    ),
    "ignored stop strings": (
        conduct.sampling_keeps_samples_length_and_stop_strings, {"policy": ignoring(stop=())}, ""
    ),
    "ignored length": (
        conduct.sampling_keeps_samples_length_and_stop_strings, {"policy": ignoring(max_new_tokens=9)}, "one of"
    ),
    "ignored seed": (conduct.sampling_follows_seed_and_temperature, {"policy": ignoring(seed=0)}, "the same ones"),
    "ignored temperature": (
        conduct.sampling_follows_seed_and_temperature, {"policy": ignoring(temperature=1.0)}, "set draws"
    ),
    "greedy whatever is asked": (
        conduct.sampling_follows_seed_and_temperature, {"policy": ignoring(temperature=0.0)}, "the same ones"
    ),
    "state that leaks after the twentieth prompt": (
        conduct.a_policy_answers_alike_however_much_it_was_asked, {"policy": Tires}, "for item 0"
    ),
}  # fmt: skip


def plugin(changes: dict[str, Any]) -> Method:
    wrapped = {name: staticmethod(it) if name in ("fits", "loads") else it for name, it in changes.items()}
    found: Method = type("Plugin", (Sound,), wrapped)()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_the_clause_that_names_it(fault: str, tmp_path: Path) -> None:
    clause, changes, said = FAULTS[fault]
    assert clause in CLAUSES
    with pytest.raises(Broken) as broken:
        clause(Bench(plugin(changes), tmp_path / "faulty"))
    assert said in broken.value.found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(plugin({}), tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize(
    "clause", dict.fromkeys(clause for clause, _, _ in FAULTS.values()), ids=lambda it: it.__name__
)
def test_without_a_fault_each_of_these_clauses_holds(clause: Clause, sound: Bench) -> None:
    clause(sound)


@dataclass(frozen=True)
class Trains(Method):
    """Fine-tuning with a loss and a batch that a subclass may spoil."""

    needs = frozenset({"demonstrations"})
    learning_rate: float = setting(1e-2, "peak value", null=0.0)
    batch_size: int = setting(8, "rows per update")

    def rows(self, rows: Sequence[TrainingRow]) -> Sequence[TrainingRow]:
        """The rows as they are trained."""
        return rows

    def batch(self, micro_batch: int) -> int:
        """Rows per update."""
        return self.batch_size

    def fit(self, base, data, inputs, out, context):  # type: ignore[no-untyped-def]
        seed_everything(context)
        rows = TrainingRows(tuple(self.rows(training_rows(data.demonstrations, base.encoder).rows)))
        model = base.load()
        report = train(model, rows, base, Optimisation(self.learning_rate, 3, self.batch(context.micro_batch)), context)
        save_model(model, base, out)
        return report

    def load(self, base, artifact, inputs):  # type: ignore[no-untyped-def]
        return load_model(base, artifact)


class OnPrompts(Trains):
    def rows(self, rows: Sequence[TrainingRow]) -> Sequence[TrainingRow]:
        return [TrainingRow(row.input_ids, list(row.input_ids)) for row in rows]


class ByMemory(Trains):
    def batch(self, micro_batch: int) -> int:
        return micro_batch


@pytest.mark.parametrize(
    ("method", "clause", "said"),
    [
        (OnPrompts(), conduct.training_leaves_the_prompts_themselves_alone, "as if the loss were on the prompt too"),
        (ByMemory(), conduct.the_micro_batch_moves_nothing_beyond_rounding, "a difference of"),
    ],
)
def test_a_loss_on_the_prompt_and_a_batch_that_memory_decides_are_found(
    method: Method, clause: Clause, said: str, tmp_path: Path
) -> None:
    with pytest.raises(Broken) as broken:
        clause(Bench(quick(method), tmp_path / "faulty"))
    assert said in broken.value.found
    clause(Bench(quick(Trains()), tmp_path / "sound"))


@dataclass(frozen=True)
class Mean(Sound):
    """A deterministic fit that counts what it read."""

    depends_on_seed: ClassVar[bool] = False
    costs: ClassVar[bool] = True

    def fit(self, base, data, inputs, out, context):  # type: ignore[no-untyped-def]
        super().fit(base, data, inputs, out, context)
        return FitReport(trained_parameters=16, training_tokens=100)


def test_a_fit_may_cost_something_and_depend_on_no_seed(tmp_path: Path) -> None:
    for clause in (artifacts.other_seeds_give_other_bytes, learning.the_report_says_whether_anything_was_trained):
        clause(Bench(Mean(), tmp_path / clause.__name__))
    with pytest.raises(Broken, match="of 0, since costs"):
        learning.the_report_says_whether_anything_was_trained(
            Bench(type("Plugin", (Mean,), {"costs": False})(), tmp_path / "free")
        )
    with pytest.raises(Broken, match="other bytes from another seed"):
        artifacts.other_seeds_give_other_bytes(
            Bench(type("Plugin", (Mean,), {"depends_on_seed": True})(), tmp_path / "seeded")
        )


def test_a_loss_on_prompts_that_is_declared_is_no_fault(tmp_path: Path) -> None:
    clause = conduct.training_leaves_the_prompts_themselves_alone
    for chosen, declared in (("answers", False), ("all", True), ({"prompt": 0.1}, True), ({"prompt": 0.0}, False)):
        assert Sft(loss_on=chosen).trains_on_prompts is declared
    with pytest.raises(NotApplicable, match="declares trains_on_prompts"):
        clause(Bench(quick(Sft(loss_on="all")), tmp_path / "declared"))
