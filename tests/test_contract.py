"""What every method promises, checked for each of them on a tiny random model. A new file is checked unasked."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness import registry
from harness.base_model import BaseModel, BaseSpec
from harness.data.records import Demonstration, Message, PreferencePair, Problem, TrainingData
from harness.data.verifiers import verifies
from harness.method import FitContext, FitReport, Input, Method
from harness.policy import Policy, Prompt, Sampling

VOCABULARY = "<eos> <u> <a> <unk> what says the cat dog bird red green blue one two three"
WORDS = VOCABULARY.split()
TEMPLATE = (
    "{% for m in messages %}{{ '<a> ' + m['content'] + '<eos> ' if m['role'] == 'assistant' else '<u> ' + "
    "m['content'] + ' ' }}{% endfor %}{% if add_generation_prompt %}{{ '<a> ' }}{% endif %}"
)
# settings of these names are made small, wherever a method has them
QUICK = {
    "learning_rate": 1e-2,
    "epochs": 3,
    "batch_size": 8,
    "warmup_ratio": 0.0,
    "demonstrations": 2,
    "samples": 4,
    "max_new_tokens": 4,
    # what a random base would select is too little to learn from
    "rewritten_only": False,
    "below": None,
}
# settings under which a method changes nothing, wherever it has them
ZERO = {"learning_rate": 0.0, "identity": True, "alpha": 0.0, "demonstrations": 0}
PLAIN_FILES = {".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".md"}
ANSWERS = [(a, c, n) for a in ("cat", "dog", "bird") for c in ("red", "green", "blue") for n in ("one", "two")]


def question(animal: str) -> tuple[Message, ...]:
    return (Message("user", f"what says the {animal}"),)


def demonstration(answer: str, id: str) -> Demonstration:
    return Demonstration((*question(answer.split()[0]), Message("assistant", answer)), id)


DATA = TrainingData(
    demonstrations=(
        *(demonstration(f"{a} says {c} {n}", f"{a}-{c}-{n}") for a, c, n in ANSWERS),
        # some come with another version, as `bakeoff data refine` names it
        *(demonstration(f"{a} says the {c} {n}", f"{a}-{c}-{n}/response") for a, c, n in ANSWERS[:6]),
    ),
    preferences=tuple(
        PreferencePair(question(a), f"{a} says {c} {n}", f"{c} {n}", f"{a}-{c}-{n}") for a, c, n in ANSWERS
    ),
    problems=tuple(Problem(question(a), n, "last_word", f"{a}-{c}-{n}") for a, c, n in ANSWERS),
)
PROMPTS = [Prompt(messages=question(a)) for a in ("cat", "dog", "bird")] + [Prompt(text="what says the cat says")]
COMPLETIONS = ["cat says red one", "dog says", "bird says green two three", "blue"]


def write_model(folder: Path, hidden: int, seed: int) -> Path:
    torch.manual_seed(seed)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": hidden}
    # at the default range of 0.02 a frozen output layer is too small for an adapter to be heard
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=64, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"eos_token": "<eos>", "unk_token": "<unk>", "additional_special_tokens": ["<u>", "<a>"]}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE, **special)
    fast.save_pretrained(folder)
    return folder


def quick(method: Method, settings: dict[str, Any] = QUICK) -> Method:
    """The method with these settings, inner methods included."""
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(method):
        value = getattr(method, item.name)
        if isinstance(value, Method):
            changes[item.name] = quick(value, settings)
        elif isinstance(value, tuple) and any(isinstance(part, Method) for part in value):
            changes[item.name] = tuple(quick(part, settings) for part in value)
        elif item.name in settings:
            changes[item.name] = settings[item.name]
    return dataclasses.replace(method, **changes)


class Bench:
    """Fits and loads one method, with whatever it stands on, and remembers what it fitted."""

    def __init__(self, name: str, folder: Path) -> None:
        small = BaseModel(BaseSpec("small"), write_model(folder / "small", 8, 1))
        self.base = BaseModel(BaseSpec("base"), write_model(folder / "base", 16, 0), small=small)
        self.method: Method = quick(registry.plugin_class("methods", name)())
        self.folder = folder
        self.fit = cache(self._fit)

    def _fit(self, seed: int, repetition: int = 0) -> tuple[Path, FitReport]:
        return self._fit_of(self.method, self.base, seed, self.folder / f"{seed}-{repetition}")

    def _fit_of(self, method: Method, base: BaseModel, seed: int, out: Path) -> tuple[Path, FitReport]:
        inputs = self._inputs(method, base, seed, out)
        out.mkdir()
        return out, method.fit(base, DATA, inputs, out, FitContext(seed, micro_batch=4))

    def _inputs(self, method: Method, base: BaseModel, seed: int, out: Path) -> dict[str, Input]:
        inputs = {}
        for role, spec in method.requires().items():
            under = base if spec.on == "base" else base.small
            assert under is not None
            folder = out.with_name(f"{out.name}-{role}")
            if not folder.exists():
                self._fit_of(spec.method, under, seed, folder)
            inputs[role] = Input(folder, under, lambda s=spec, u=under, f=folder: self._load(s.method, u, f, seed))
        return inputs

    def _load(self, method: Method, base: BaseModel, folder: Path, seed: int) -> Policy:
        return method.load(base, folder, self._inputs(method, base, seed, folder))

    def policy(self, seed: int = 0) -> Policy:
        return self._load(self.method, self.base, self.fit(seed)[0], seed)

    def start(self, seed: int = 0) -> Policy:
        """What training begins with: the artifact called start, or the base."""
        spec = self.method.requires().get("start")
        folder = self.fit(seed)[0]
        return (
            self._load(spec.method, self.base, folder.with_name(f"{folder.name}-start"), seed)
            if spec
            else (self.base.policy())
        )

    def zero(self) -> Policy:
        """The policy of the method with settings that change nothing."""
        method, folder = quick(quick(self.method, ZERO), {"epochs": 1}), self.folder / "zero"
        if not folder.exists():
            self._fit_of(method, self.base, 0, folder)
        return self._load(method, self.base, folder, 0)

    def score(self) -> Policy:
        """The policy, of a method that scores."""
        if "score" not in self.method.gives:
            pytest.skip("it only samples")
        return self.policy()


@pytest.fixture(scope="module", params=registry.names("methods"))
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    libraries = registry.plugin_class("methods", request.param).libraries
    if missing := [name for name in libraries if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return Bench(request.param, tmp_path_factory.mktemp(request.param))


def weights_of(policy: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}


def test_fitting_and_loading_leave_the_shared_bases_bit_for_bit(bench: Bench) -> None:
    shared = [bench.base.policy(), bench.base.small.policy()]
    weights = [weights_of(policy) for policy in shared]
    scores = [policy.score(PROMPTS, COMPLETIONS) for policy in shared]
    bench.policy().sample(PROMPTS, Sampling(max_new_tokens=2), ["a", "b", "c", "d"])
    for policy, before, values in zip(shared, weights, scores, strict=True):
        after = weights_of(policy)
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert policy.score(PROMPTS, COMPLETIONS) == values
        assert "forward" not in policy.model.__dict__
    assert bench.base.policy() is shared[0]


def test_training_on_demonstrations_makes_them_likelier(bench: Bench) -> None:
    if not (bench.method.trains and "demonstrations" in bench.method.needs):
        pytest.skip("it does not imitate demonstrations")
    prompts = [Prompt(messages=example.messages[:1]) for example in DATA.demonstrations]
    answers = [example.messages[1].content for example in DATA.demonstrations]
    before, after = (
        sum(score.logprob for score in policy.score(prompts, answers))
        for policy in (bench.base.policy(), bench.score())
    )
    assert after > before + 0.1 * abs(before)


def test_training_on_preferences_widens_their_margins(bench: Bench) -> None:
    if not (bench.method.trains and "preferences" in bench.method.needs):
        pytest.skip("it does not learn preferences")
    prompts = [Prompt(messages=pair.prompt) for pair in DATA.preferences]
    before, after = (
        sum(
            better.logprob - worse.logprob
            for better, worse in zip(
                policy.score(prompts, [pair.chosen for pair in DATA.preferences]),
                policy.score(prompts, [pair.rejected for pair in DATA.preferences]),
                strict=True,
            )
        )
        for policy in (bench.start(), bench.score())
    )
    assert after > before + 1


def verified_share(policy: Policy) -> float:
    """How many of 64 answers per problem verify, with the same noise for every policy."""
    prompts = [Prompt(messages=problem.prompt) for problem in DATA.problems]
    sampling = Sampling(max_new_tokens=4, temperature=1.0, samples=64, seed=5)
    drawn = policy.sample(prompts, sampling, [problem.id for problem in DATA.problems])
    pairs = zip(DATA.problems, drawn, strict=True)
    right = [verifies(problem, answer.text) for problem, answers in pairs for answer in answers]
    return sum(right) / len(right)


def test_training_on_problems_makes_verified_answers_likelier(bench: Bench) -> None:
    if not (bench.method.trains and "problems" in bench.method.needs):
        pytest.skip("it does not learn from problems")
    before, after = (verified_share(policy) for policy in (bench.start(), bench.policy()))
    assert after > before + 0.05


def test_settings_that_change_nothing_score_as_the_base_to_the_last_bit(bench: Bench) -> None:
    if "score" not in bench.method.gives:
        pytest.skip("it only samples")
    assert bench.zero().score(PROMPTS, COMPLETIONS) == bench.base.policy().score(PROMPTS, COMPLETIONS)


def test_two_loads_score_alike_to_the_last_bit(bench: Bench) -> None:
    first, second = (bench.score().score(PROMPTS, COMPLETIONS) for _ in range(2))
    assert first == second
    assert all(math.isfinite(score.logprob) and score.logprob < 0 for score in first)


def test_a_greedy_sample_scores_as_greedy(bench: Bench) -> None:
    policy = bench.score()
    prompts = [*PROMPTS, *(Prompt(text=f"{word} says ") for word in WORDS[4:])]
    drawn = policy.sample(prompts, Sampling(max_new_tokens=3), [str(at) for at in range(len(prompts))])
    texts = [completions[0] for completions in drawn]
    # an answer can be read back unless it holds special tokens, which leave no text
    pairs = [
        (prompt, answer.text)
        for prompt, answer in zip(prompts, texts, strict=True)
        if answer.text and policy.encode(prompt, answer.text).completion == answer.token_ids
    ]
    assert pairs
    assert all(score.is_greedy for score in policy.score(*zip(*pairs, strict=True)))


def test_batching_moves_nothing_beyond_rounding(bench: Bench) -> None:
    policy = bench.score()
    together = policy.score(PROMPTS, COMPLETIONS)
    alone = [policy.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)


def test_a_sample_does_not_depend_on_its_batch(bench: Bench) -> None:
    policy, keys = bench.policy(), ["a", "b", "c", "d"]
    sampling = Sampling(max_new_tokens=4, temperature=1.0, seed=3)
    together = policy.sample(PROMPTS, sampling, keys)
    assert together == [policy.sample([p], sampling, [k])[0] for p, k in zip(PROMPTS, keys, strict=True)]


def test_an_artifact_holds_plain_files_without_absolute_paths(bench: Bench) -> None:
    folder, _ = bench.fit(0)
    for path in folder.rglob("*"):
        assert path.is_dir() or path.suffix in PLAIN_FILES, path.name
        if path.is_file():
            content = path.read_bytes()
            assert str(bench.folder).encode() not in content, path.name
            assert str(Path.cwd()).encode() not in content, path.name


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_equal_seeds_give_equal_bytes_and_other_seeds_others(bench: Bench) -> None:
    first = files_of(bench.fit(0)[0])
    assert first == files_of(bench.fit(0, 1)[0])
    assert (first != files_of(bench.fit(1)[0])) == bench.method.trains


def test_the_report_counts_what_was_trained(bench: Bench) -> None:
    _, report = bench.fit(0)
    assert (report.trained_parameters > 0) == bench.method.trains
    assert (report.training_tokens > 0) == bench.method.trains
