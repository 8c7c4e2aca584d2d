"""lm-eval's tasks on bakeoff's policies. Importing lm_eval takes seconds, so this module is imported late.

lm-eval asks with rendered text; a policy answers prompts, because only the policy knows its chat template or its
in-context examples. `BridgeLM` therefore remembers the messages behind every text that it rendered. lm-eval's own cache
of requests (`use_cache`) is not used, since it does not know which model answered.

One intended difference from lm-eval's `HFLM`: where a rendered conversation ends in white space, lm-eval scores that
white space with the answer; here it belongs to the prompt, because the model generates after it.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lm_eval.api.model import TemplateLM

from harness.errors import UserError, first_line
from harness.policy.policy import Policy
from harness.policy.stepwise import StepwisePolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Message
from harness.scoring.lm_eval.samples import Sample, by_document, sample_of
from harness.scoring.lm_eval.task_files import folder_of_data

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


FEWSHOT_SEED = 1234
"""lm-eval's default: the examples in the context are the same for every seed, so seeds stay paired."""

NEUTRAL = {"num_beams": (1,), "top_k": (None, 0, -1), "repetition_penalty": (1,), "min_p": (None, 0)}
"""Unsupported settings of generation, with the values at which they have no effect."""

ALSO_GREEDY = frozenset({
    "num_beams", "repetition_penalty", "encoder_repetition_penalty", "frequency_penalty", "presence_penalty",
    "length_penalty", "penalty_alpha", "no_repeat_ngram_size", "bad_words_ids", "force_words_ids", "suppress_tokens",
})  # fmt: skip
"""Unsupported settings that also change greedy decoding."""

CHOICES = ("loglikelihood", "loglikelihood_rolling", "multiple_choice")


class BridgeLM(TemplateLM):  # type: ignore[misc]
    """A policy as lm-eval sees it.

    seed            of the sampling noise
    max_new_tokens  limit on the length that a task asks for; None: the task decides
    truncated       (task, document number) of every prompt whose left end was cut
    """

    def __init__(self, policy: Policy, *, seed: int = 0, max_new_tokens: int | None = None) -> None:
        super().__init__()
        self.policy, self.seed, self.max_new_tokens = policy, seed, max_new_tokens
        self.tokenizer = policy.encoder.tokenizer
        self.truncated: set[tuple[str | None, int | None]] = set()
        self._conversations: dict[str, Prompt] = {}

    @property
    def encoder(self) -> TextEncoder:
        """The policy's tokenizer and template."""
        return self.policy.encoder

    @property
    def eot_token_id(self) -> int:
        """The end of text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token before a text that has no context."""
        return self.encoder.prefix_token

    @property
    def max_length(self) -> int:
        """The longest context in tokens."""
        return self.encoder.max_length

    @property
    def tokenizer_name(self) -> str:
        """Part of the name of lm-eval's request cache; lm-eval asks for it even though the cache is off."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The chat template, where one is applied."""
        return self.encoder.template if chat_template else None

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **unused: Any) -> list[int]:
        """Token ids; without a flag, special tokens are added unless the text already opens with BOS."""
        return list(self.encoder.tokens(string, bare=add_special_tokens is False))

    def apply_chat_template(self, chat_history: list[dict[str, Any]], **unused: Any) -> str:
        """Render a conversation and remember it; a final assistant turn is the beginning of the answer."""
        messages = [Message(row["role"], row["content"]) for row in chat_history]
        begun = messages.pop().content if messages[-1].role == "assistant" else ""
        text = self.encoder.chat.prompt(messages)
        self._conversations[text + begun] = Prompt(messages=tuple(messages), assistant_prefix=begun)
        return text + begun

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log-probability, whether it is the greedy continuation) of each request's continuation."""
        pairs = [self._pair(*request.args[:2]) for request in requests]
        scores = self.policy.score([prompt for prompt, _ in pairs], [answer for _, answer in pairs])
        for request, score in zip(requests, scores, strict=True):
            self._note(request, score.truncated)
        return [(score.logprob, score.is_greedy) for score in scores]

    def _pair(self, context: str, answer: str) -> tuple[Prompt, str]:
        """The prompt and the scored text; without a context, an initial BOS counts as the prompt."""
        opening = self.tokenizer.decode([self.prefix_token_id])
        if not context and opening and answer.startswith(opening):
            return Prompt(text=opening), answer.removeprefix(opening)
        return self._prompt(context), answer

    def _prompt(self, context: str) -> Prompt:
        return self._conversations.get(context) or Prompt(text=context)

    def _note(self, request: Any, truncated: bool) -> None:
        if truncated:
            self.truncated.add((request.task_name, request.doc_id))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text, in windows as HFLM cuts them, without any prompt."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        if "text" not in self.policy.gives:
            raise UserError(
                f"{type(self.policy).__name__} acts on conversations only, and a rolling score is of bare text",
                fix="Leave out tasks of rolling perplexity; the benchmark `perplexity` asks in a conversation.",
            )

        windows: list[tuple[list[int], list[int]]] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            cut = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, context_len=1)
            windows += map(make_disjoint_window, cut)
            owners += [owner] * (len(windows) - len(owners))
        totals = [0.0] * len(requests)
        scored = self._loglikelihood_tokens([(("", ""), context, answer) for context, answer in windows])
        for owner, (logprob, _) in zip(owners, scored, strict=True):
            totals[owner] += logprob
        return totals

    def _loglikelihood_tokens(self, requests: Sequence[Any], **unused: Any) -> list[tuple[float, bool]]:
        """Scores of token ids, which only a StepwisePolicy can give."""
        from harness.policy.logprobs import score_tokens

        if not isinstance(self.policy, StepwisePolicy):
            raise UserError(
                f"{type(self.policy).__name__} cannot score token ids", fix="Leave out tasks of rolling perplexity."
            )
        scores = score_tokens(self.policy, [(context, answer) for _, context, answer in requests])
        return [(score.logprob, score.is_greedy) for score in scores]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The text of each request; lm-eval repeats a request for each further sample."""
        places: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(id(request), []).append(place)
        alike: dict[str, list[list[int]]] = {}
        for own in places.values():
            settings = json.dumps([requests[own[0]].args[1], len(own)], sort_keys=True, default=str)
            alike.setdefault(settings, []).append(own)
        texts = [""] * len(requests)
        for group in alike.values():
            for place, text in self._generate(requests, group):
                texts[place] = text
        return texts

    def _generate(self, requests: list[Any], group: list[list[int]]) -> Iterator[tuple[int, str]]:
        """(position, text) for requests with equal settings, each given by the positions of its samples."""
        asked = [requests[own[0]] for own in group]
        sampling = self._sampling(asked[0].args[1], samples=len(group[0]))
        keys = [f"{request.task_name}/{request.doc_id}/{request.idx}" for request in asked]
        drawn = self.policy.sample([self._prompt(request.args[0]) for request in asked], sampling, keys)
        for request, own, completions in zip(asked, group, drawn, strict=True):
            self._note(request, any(completion.truncated for completion in completions))
            yield from zip(own, (completion.text for completion in completions), strict=True)

    def _sampling(self, settings: Mapping[str, Any], samples: int) -> Sampling:
        from lm_eval.models.utils import normalize_gen_kwargs

        asked = dict(normalize_gen_kwargs(dict(settings)))
        length = int(asked.pop("max_gen_toks"))
        stop = tuple(text for text in asked.pop("until") if text)
        draws = bool(asked.pop("do_sample", False))
        temperature, top_p = float(asked.pop("temperature", 1.0)), float(asked.pop("top_p", 1.0))
        foreign = sorted(name for name, value in asked.items() if value not in NEUTRAL.get(name, ()))
        if not draws:
            foreign = [name for name in foreign if name in ALSO_GREEDY]
        if foreign:
            raise UserError(
                f"the task sets {', '.join(foreign)}, which bakeoff does not support",
                fix="Use only temperature, top_p, until and max_gen_toks.",
            )
        return Sampling(
            max_new_tokens=min(length, self.max_new_tokens or length),
            temperature=temperature if draws else 0.0,
            top_p=top_p,
            stop=stop,
            samples=samples,
            seed=self.seed,
        )


def load_tasks(names: Sequence[str], include_path: str = "") -> dict[str, Any]:
    """Task name -> task with its data, from names, groups, tags or paths of YAML files.

    Raises UserError for an unknown name and for unreachable data.
    """
    tasks: dict[str, Any] = {}
    for name in names:
        tasks |= _load(name, _manager_for(name, include_path))
    return tasks


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


@cache
def _manager(include_path: str, *, everything: bool) -> Any:
    """An index of tasks; reading lm-eval's own 14,000 takes seconds, so they are left out unless needed."""
    from lm_eval.tasks import TaskManager

    with _quiet():
        return TaskManager(include_path=include_path or None, include_defaults=everything)


def _manager_for(name: str, include_path: str) -> Any:
    local = _manager(include_path, everything=False)
    if _is_file(name):
        if not Path(name).is_file():
            raise UserError("the task file does not exist", where=name, fix="Name a YAML file or a task of lm-eval.")
        return _manager(include_path, everything=True) if "group:" in Path(name).read_text("utf-8") else local
    return local if name in local.all_tasks else _manager(include_path, everything=True)


def _where_its_data_is(name: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.chdir(folder_of_data(Path(name))) if _is_file(name) else contextlib.nullcontext()


def _load(name: str, manager: Any) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError

    if not _is_file(name) and name not in manager.all_tasks:
        near = difflib.get_close_matches(name, manager.all_tasks, n=5, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        raise UserError(f"lm-eval has no task {name!r}", fix=hint + "`lm-eval ls tasks` lists them all.")
    try:
        with _quiet(), _where_its_data_is(name):
            return dict(manager.load([str(Path(name).resolve()) if _is_file(name) else name])["tasks"])
    except ImportError as error:
        raise UserError(
            f"the task needs a package that is not installed: {first_line(error)}",
            where=name,
            fix="Install what it names (for ifeval: `pip install 'lm-eval[ifeval]'`).",
        ) from error
    except (DatasetsError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"the task or its data cannot be loaded: {first_line(error)}",
            where=name,
            fix="Unless its YAML names local files, its data comes from the Hugging Face hub: run once online, without "
            "HF_HUB_OFFLINE, to cache it, or set HF_HOME to a cache that has it.",
        ) from error


def task_of(name: str, rows: Sequence[Mapping[str, Any]], **config: Any) -> dict[str, Any]:
    """{name: task} for rows in memory, with the keys of an lm-eval YAML."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    data = {"test": Dataset.from_list([dict(row) for row in rows])}
    with _quiet():
        return {
            name: ConfigurableTask(
                config={"task": name, "test_split": "test", "custom_dataset": lambda **unused: data, **config}
            )
        }


def run_tasks(
    policy: Policy,
    tasks: Mapping[str, Any],
    *,
    limit: int | None = None,
    documents: Mapping[str, Sequence[int]] | None = None,
    num_fewshot: int | None = None,
    chat_template: bool = False,
    fewshot_as_multiturn: bool = True,
    system_instruction: str | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
) -> Iterator[Sample]:
    """Every document of every task, in order.

    limit        documents per task; None: all
    documents    task -> the numbers of its documents to ask, in order; None: all up to the limit
    num_fewshot  examples in the context; a task that declares none keeps none, as in lm-eval
    """
    from lm_eval.evaluator import evaluate

    for name, task in tasks.items():
        _check(policy, name, task)
        check_gold(name, task, limit)
    if documents is not None:
        tasks = {name: task for name, task in tasks.items() if documents[name]}  # lm-eval takes none for all
        if not tasks:
            return
    _seed_language_detection()
    model = BridgeLM(policy, seed=seed, max_new_tokens=max_new_tokens)
    try:
        with _quiet(), _examples(tasks.values(), num_fewshot):
            result = evaluate(
                lm=model,
                task_dict={"tasks": dict(tasks)},
                limit=None if documents else limit,
                samples={name: list(documents[name]) for name in tasks} if documents else None,
                bootstrap_iters=0,
                apply_chat_template=chat_template,
                fewshot_as_multiturn=fewshot_as_multiturn,
                system_instruction=system_instruction,
            )
    except LookupError as error:
        if type(error) is not LookupError:
            raise
        raise UserError(
            "a task needs nltk's sentence tokenizer punkt_tab",
            where=", ".join(tasks),
            fix="Run `python -m nltk.downloader punkt_tab` once, or set NLTK_DATA to a folder that has it.",
        ) from error
    for name, task in tasks.items():
        for rows in by_document(result["samples"][name]):
            sample = sample_of(name, task, rows, (name, rows[0]["doc_id"]) in model.truncated)
            # lm-eval counts the documents that it was given
            yield replace(sample, doc_id=documents[name][sample.doc_id]) if documents else sample


def _check(policy: Policy, name: str, task: Any) -> None:
    """Raise UserError for a task that cannot work with this policy."""
    if task.OUTPUT_TYPE in CHOICES and "score" not in policy.gives:
        raise UserError(
            f"the task {name} compares log-probabilities, and {type(policy).__name__} only samples",
            fix="Use a task that generates its answers.",
        )
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        raise UserError(f"the task {name} runs generated code or shows images", fix="Leave it out.")


@contextlib.contextmanager
def _examples(tasks: Iterable[Any], number: int | None) -> Iterator[None]:
    """Set the number of examples in the context temporarily, with a fixed choice of them."""
    declared = {id(task): (task, task.get_config("num_fewshot")) for task in tasks}
    for task, own in declared.values():
        task.set_config(key="num_fewshot", value=own or 0 if number is None or own == 0 else number)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    try:
        yield
    finally:
        for task, own in declared.values():
            task.set_config(key="num_fewshot", value=own)


def _seed_language_detection() -> None:
    """Seed langdetect, which IFEval uses and which is random otherwise."""
    if importlib.util.find_spec("langdetect"):
        importlib.import_module("langdetect").DetectorFactory.seed = 0


def check_gold(name: str, task: Any, limit: int | None) -> None:
    """Raise UserError for a document whose right answer is not among its choices; lm-eval scores it 0 and only logs."""
    if task.OUTPUT_TYPE != "multiple_choice" or getattr(getattr(task, "config", None), "process_results", None):
        return
    for number, document in task.doc_iterator(limit=limit):
        choices = list(task.doc_to_choice(document))
        gold = (task.doc_to_text if getattr(task, "multiple_input", 0) else task.doc_to_target)(document)
        for one in gold if isinstance(gold, list) else [gold]:
            if not (0 <= one < len(choices) if isinstance(one, int) else one in choices):
                raise UserError(
                    f"its right answer {str(one)[:80]!r} is not among its {len(choices)} choices",
                    where=f"{name}, document {number}",
                    fix="Correct doc_to_target: the index of a choice, counted from 0, or its text.",
                )


class _Shown(logging.Handler):
    """Shows each warning of lm-eval once, but not its advice on its own command line."""

    ADVICE = ("Custom kwargs can be passed",)
    seen: ClassVar[set[str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:500]
        if text not in self.seen and not any(advice in text for advice in self.ADVICE):
            self.seen.add(text)
            print(f"lm-eval: {text}", file=sys.stderr)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress bars of lm-eval and datasets, and repetitions of warnings."""
    import datasets
    import lm_eval.api.task as module

    logger, bar = logging.getLogger("lm_eval"), module.tqdm
    level, shown = logger.level, datasets.is_progress_bar_enabled()
    handler, propagates, handlers = _Shown(), logger.propagate, logger.handlers
    logger.setLevel(logging.WARNING)
    logger.handlers, logger.propagate = [handler], False
    datasets.disable_progress_bars()
    module.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        module.tqdm = bar
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagates
        if shown:
            datasets.enable_progress_bars()
