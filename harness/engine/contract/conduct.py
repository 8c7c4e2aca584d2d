"""Clauses about what a method does besides its mathematics: files, programs, shared objects, settings of sampling."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.engine.contract.bench import Bench, NotApplicable, expect
from harness.engine.contract.scores import expect_same, scored
from harness.engine.contract.tiny import COMPLETIONS, DATA, KEYS, PROMPTS, WORDS
from harness.engine.contract.watching import scratch, watched
from harness.engine.declarations import answers_are_fixed, trains_on_prompts
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling

ABSOLUTE = re.compile(r"(?:file://)?(?:/[^/\s\"']+){2,}/?|~/\S+|[A-Za-z]:[\\/]\S+|\\\\\S+\\\S+")
ASKED = 24
"""Prompts that are asked before a policy is asked again what it was asked first."""
BATCHED = 0.02
"""How far training with another micro-batch may put a token's log-probability: rounding grows with every update."""


def the_shared_tokenizer_encoder_and_configuration_stay_as_they_were(bench: Bench) -> None:
    """All cells of a base share them: a tokenizer that gains tokens, or a length that is cut, changes other methods."""
    for base in (bench.base, bench.small):
        base.make_unchanged()  # what an earlier clause found is not found again
        _ = (base.config, base.encoder, base.policy())
    bench.fit_again(0)
    policy = bench.policy()
    policy.sample(PROMPTS, Sampling(max_new_tokens=2), KEYS)
    for name, base in (("base", bench.base), ("small base", bench.small)):
        changed = [what for what in base.make_unchanged() if what != "model"]  # of which there is a clause
        expect(not changed, f"what the {name} shares as it was", f"another {' and '.join(changed)}")


def every_file_is_what_its_suffix_says(bench: Bench) -> None:
    """JSON can be read as JSON, safetensors as safetensors, text as text: a pickle by another name is none of them."""
    for path in sorted(file for file in bench.fit(0)[0].rglob("*") if file.is_file()):
        fault = _misread(path)
        expect(not fault, f"{path.suffix or 'a known kind'} in {path.name}", fault)


def no_text_of_an_artifact_is_an_absolute_path(bench: Bench) -> None:
    """A path of any machine would be of no use on another one, and would be other bytes there."""
    for path in sorted(file for file in bench.fit(0)[0].rglob("*.json*") if file.is_file()):
        for line in path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]:
            found = [text for text in _texts(json.loads(line)) if ABSOLUTE.fullmatch(text)]
            expect(not found, "no absolute path in the artifact", f"{found[:1]} in {path.name}")


def a_fit_writes_into_its_folder_and_reads_nothing_by_the_current_one(bench: Bench) -> None:
    """Files that it writes elsewhere are lost, and a relative path is another file wherever the command is run."""
    here, _ = Path.cwd(), bench.fit(0)
    before = {here: _names(here), bench.folder: _names(bench.folder)}
    with watched() as seen:
        out = bench.fit_again(0)
    own = [out, *(folder for folder in bench.folder.iterdir() if folder.name.startswith(out.name))]
    written = [path for path in seen.outside(*own) if not _is_scratch(Path(path), bench.folder)]
    expect(not written, "files in `out` alone, or temporary ones", f"a file written at {', '.join(written[:1])}")
    expect(not seen.relative, "no file opened by the current folder", f"{', '.join(seen.relative[:1])} opened")
    for folder, names in before.items():
        new = [name for name in sorted(_names(folder) - names) if not name.startswith(out.name)]
        expect(not new, "files in `out` alone", f"{', '.join(new[:1])} in {folder}")


def no_other_program_is_started(bench: Bench) -> None:
    """Neither a fit, a load nor a sample starts one: a child process has a network that this check does not see."""
    bench.fit(0)
    with watched() as seen:
        bench.fit_again(0)
        bench.policy().sample(PROMPTS, Sampling(max_new_tokens=2), KEYS)
    expect(not seen.started, "no program started", f"{', '.join(seen.started[:1])}")


def nothing_is_fetched_while_sampling_or_scoring(bench: Bench) -> None:
    """A policy answers from its artifact and base alone."""
    attempts: list[str] = []
    policy = bench.policy()
    with bench.without_network(attempts):
        policy.sample(PROMPTS, Sampling(max_new_tokens=2), KEYS)
        if "score" in bench.method.gives:
            scored(policy)
    expect(not attempts, "no connection while sampling and scoring", f"attempts to reach {', '.join(attempts)}")


def the_text_of_a_sample_is_that_of_its_tokens(bench: Bench) -> None:
    """A benchmark judges the text: it holds the drawn tokens and nothing of the prompt."""
    policy = _sampling(bench)
    for prompt, (answer,) in zip(PROMPTS, policy.sample(PROMPTS, Sampling(max_new_tokens=4), KEYS), strict=True):
        said = policy.encoder.text(answer.token_ids)
        within = " ".join(answer.text.split()) in " ".join(said.split())
        shown = prompt.messages[-1].content if prompt.messages else prompt.text
        expect(within, f"the text {said!r}, which its tokens have, after {shown!r}", f"{answer.text!r}")


def sampling_keeps_samples_length_and_stop_strings(bench: Bench) -> None:
    """As many answers as asked for, none longer than allowed, and none with a stop string."""
    policy = _sampling(bench)
    wide = Sampling(max_new_tokens=4, temperature=1.0, samples=3, seed=1)
    answers = policy.sample(PROMPTS, wide, KEYS)
    counts = {len(own) for own in answers}
    expect(counts == {3}, "3 samples for each prompt, as asked for", f"{sorted(counts)}")
    longest = max(len(answer.token_ids) for own in answers for answer in own)
    expect(longest <= 4, "answers of 4 tokens at most (max_new_tokens)", f"one of {longest}")
    words = [word for own in answers for answer in own for word in answer.text.split()]
    for word in [word for word in WORDS if word in words][:2]:
        stopped = policy.sample(PROMPTS, replace(wide, stop=(word,)), KEYS)
        kept = [answer.text for own in stopped for answer in own if word in answer.text]
        expect(not kept, f"answers that end before the stop string {word!r}", f"{kept[:1]}")


def sampling_follows_seed_and_temperature(bench: Bench) -> None:
    """Other seeds draw other answers above temperature 0, and at 0 the same ones, unless the method draws by itself."""
    policy = _sampling(bench)

    def texts(temperature: float, seed: int) -> list[tuple[Completion, ...]]:
        return policy.sample(PROMPTS, Sampling(6, temperature=temperature, samples=4, seed=seed), KEYS)

    if answers_are_fixed(bench.method):
        expect(texts(1.5, 1) == texts(0.0, 2), "one answer to each prompt, as answers_are_fixed declares", "others")
        return
    expect(texts(1.5, 1) != texts(1.5, 2), "other answers with another seed at temperature 1.5", "the same ones")
    if bench.method.draws:
        return
    cold = texts(0.0, 1)
    expect(cold == texts(0.0, 2), "the same answers with any seed at temperature 0", "others; if intended, set draws")
    expect(texts(1.5, 1) != cold, "other answers at temperature 1.5 than at 0", "the same ones")


def a_policy_answers_alike_however_much_it_was_asked(bench: Bench) -> None:
    """Earlier questions change nothing: a cell that goes on after a kill asks less before."""
    policy, sampling = bench.policy(), Sampling(max_new_tokens=4, temperature=1.0, seed=3)
    scores = "score" in bench.method.gives

    def asked() -> Any:
        return scored(policy) if scores else policy.sample(PROMPTS, sampling, KEYS)

    first = asked()
    for at in range(ASKED):
        prompt, key = PROMPTS[at % len(PROMPTS)], KEYS[at % len(KEYS)]
        policy.sample([prompt], Sampling(max_new_tokens=1), [f"{key}{at}"])
        if scores:
            policy.score([prompt], [COMPLETIONS[at % len(COMPLETIONS)]])
    again = asked()
    if scores:
        expect_same(first, again, f"the same scores after {ASKED} other prompts")
    expect(first == again, f"the same answers after {ASKED} other prompts", "others")


def the_micro_batch_moves_nothing_beyond_rounding(bench: Bench) -> None:
    """It says how many rows fit into memory: the rows of an update, and so the result, are the method's own."""
    if not bench.method.trains:
        raise NotApplicable("it trains nothing")
    policy = bench.scoring()
    other = bench.load_at(bench.fit_again(0, micro_batch=2))
    for at, (one, two) in enumerate(zip(scored(policy), scored(other), strict=True)):
        tokens = zip(one.token_logprobs, two.token_logprobs, strict=True)
        apart = max((abs(a - b) for a, b in tokens), default=0.0)
        what = f"the scores of a fit with half the micro-batch within {BATCHED} per token"
        expect(apart <= BATCHED, what, f"a difference of {apart:.2g} in item {at}")


def training_leaves_the_prompts_themselves_alone(bench: Bench) -> None:
    """The words of a demonstration's prompt are read, not learnt: they gain less than the words of its answer.

    Both gains are per token, from the base's log-probability. Prompts here repeat four words, so a loss on them too
    raises them more; without it they gain about two thirds as much, since answers use the same words. A method that
    learns answers slowly may let prompts gain more than these, by their common words, but not as much as half of all
    that there is to gain over equal chances.
    """
    if not (bench.method.trains and "demonstrations" in bench.method.needs):
        raise NotApplicable("it imitates no demonstrations")
    if "text" not in bench.method.gives:
        raise NotApplicable("it reads no bare text, in which a prompt can be scored")
    if trains_on_prompts(bench.method):
        raise NotApplicable("it declares trains_on_prompts")
    asked = [Prompt(text=f"<u> {example.messages[0].content.split()[0]}") for example in DATA.demonstrations]
    words = [" " + " ".join(example.messages[0].content.split()[1:]) for example in DATA.demonstrations]
    turns = [Prompt(messages=example.messages[:1]) for example in DATA.demonstrations]
    answers = [example.messages[1].content for example in DATA.demonstrations]
    before, after = bench.base.policy(), bench.scoring()
    prompt, answer = (
        _per_token(after, prompts, texts) - _per_token(before, prompts, texts)
        for prompts, texts in ((asked, words), (turns, answers))
    )
    most = max(answer, math.log(len(WORDS)) / 2)
    expect(
        prompt <= most,
        f"prompts that gain at most {most:.2f} nats per token: as much as their answers, or as common words explain",
        f"a gain of {prompt:.2f}, as if the loss were on the prompt too; if it is meant, declare trains_on_prompts",
    )


def _per_token(policy: Policy, prompts: list[Prompt], texts: list[str]) -> float:
    scores = policy.score(prompts, texts)
    return sum(score.logprob for score in scores) / sum(score.tokens for score in scores)


def _sampling(bench: Bench) -> Policy:
    if "sample" not in bench.method.gives:
        raise NotApplicable("it only scores")
    return bench.policy()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _is_scratch(path: Path, bench: Path) -> bool:
    """Whether it is a temporary file, and not one next to the artifacts."""
    return path.resolve().is_relative_to(scratch()) and not path.resolve().is_relative_to(bench.resolve())


def _misread(path: Path) -> str:
    """Why a file is not of the kind that its suffix names; "" where it is."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), "pt") as file:
                list(file.keys())
            return ""
        text = path.read_bytes().decode("utf-8")
        for part in text.splitlines() if path.suffix == ".jsonl" else [text] * (path.suffix == ".json"):
            json.loads(part)
    except (SafetensorError, ValueError) as error:
        start = path.read_bytes()[:2]
        kind = "a pickle" if start[:1] == b"\x80" or start == b"PK" else "something else"
        return f"{kind} ({type(error).__name__})"
    return ""


def _texts(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in _texts(part)]
