"""Any task of lm-eval, by name or group (mmlu, ifeval, gsm8k) or as your own YAML file.

Every task is a group of one metric, `score`: the task's accuracy if it has one, else its exact match, else its first
metric, negated where lower is better. The task's other values per document are in the rows under lm-eval's names, with
`chance`, one over the number of choices. A method that acts on conversations only, such as prompting, is n/a unless
`chat_template` is on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.errors import UserError
from harness.lazy import LazyModule
from harness.method import setting
from harness.records import TestItem, TestSet
from harness.scoring.lm_eval.task_files import files_of_task

if TYPE_CHECKING:
    from harness.policy.policy import Policy
    from harness.scoring.lm_eval import bridge as lm_eval_bridge
    from harness.scoring.lm_eval import samples as lm_eval_documents
else:
    lm_eval_bridge = LazyModule("harness.scoring.lm_eval.bridge")
    lm_eval_documents = LazyModule("harness.scoring.lm_eval.samples")


SHARES = ("acc", "acc_norm", "exact_match")


@dataclass(frozen=True)
class LmEval(Benchmark):
    """Tasks of lm-eval, scored by lm-eval's own rules on any policy."""

    version = 1
    needs = frozenset({"score"})
    divisible = True
    open_metrics = True

    tasks: tuple[str, ...] = setting((), "lm-eval's names or groups, or paths of YAML files", path=True)
    limit: int | None = setting(None, "number of documents of each task; none: all", least=1)
    num_fewshot: int | None = setting(None, "examples in the context; none: as the task declares")
    chat_template: bool = setting(False, "ask in the model's chat template instead of bare text")
    max_new_tokens: int | None = setting(None, "limit on generated tokens; none: as the task declares")
    include_path: str = setting("", "folder with further task files", path=True)
    role: Literal["knowledge", "quality", "other"] = setting("knowledge", "role of the score")
    asks: Literal["score", "sample"] = setting(
        "score", "what the tasks need; sample if all of them generate, for policies without scores"
    )
    draws: bool = setting(False, "whether the tasks sample above temperature 0, so that every seed gives new answers")
    cluster_by: str = setting("", "column that names the common source of documents, if there is one")

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", frozenset({self.asks, *(() if self.chat_template else ("text",))}))

    @property
    def stochastic(self) -> bool:
        """Whether the tasks sample: only the user knows."""
        return self.draws

    def metrics(self) -> tuple[Metric, ...]:
        """One metric for all tasks, since their own metrics are unknown until they are loaded."""
        description = "main metric of each task, higher is better"
        return (Metric("score", description, role=self.role, by_group=True),)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per document of every task."""
        tasks = _loaded(self._names(), self.include_path, self.data_digest())
        for sample in lm_eval_bridge.run_tasks(
            policy,
            tasks,
            limit=self.limit,
            documents=self._asked(tasks) if self.share else None,
            num_fewshot=self.num_fewshot,
            chat_template=self.chat_template,
            max_new_tokens=self.max_new_tokens,
            seed=seed,
        ):
            yield self._outcome(sample, chance_of(tasks[sample.task], sample))

    def _asked(self, tasks: Mapping[str, Any]) -> dict[str, list[int]]:
        """Task -> the documents of the part that is asked; lm-eval draws the examples in the context for each part."""
        found: dict[str, list[int]] = {name: [] for name in tasks}
        places = list(lm_eval_documents.placed_documents(tasks, self.limit))
        for name, number, _, _ in self.chosen(places, lambda place: self._cluster(*place)):
            found[name].append(number)
        return found

    def _cluster(self, task: str, number: int, digest: str, document: Mapping[str, Any]) -> str:
        if self.cluster_by and self.cluster_by not in document:
            raise UserError(
                f"the documents of {task} have no column {self.cluster_by!r}",
                fix=f"Set cluster_by to one of: {', '.join(document)}.",
            )
        return f"{task}/{document[self.cluster_by]}" if self.cluster_by else _item_id(task, number, digest)

    def _outcome(self, sample: lm_eval_bridge.Sample, chance: Mapping[str, float]) -> Outcome:
        item = _item_id(sample.task, sample.doc_id, sample.doc_hash)
        weights = {"score": sample.weights[sample.main]} if sample.main in sample.weights else {}
        return Outcome(
            item=item,
            cluster=self._cluster(sample.task, sample.doc_id, sample.doc_hash, sample.document),
            group=sample.task,
            metrics={"score": sample.score, **sample.metrics, **chance},
            weights={**weights, **sample.weights},
            prompt=sample.prompt,
            completions=sample.completions,
            reference=sample.reference,
            flags=("truncated",) if sample.truncated else (),
        )

    def test_set(self) -> TestSet:
        """The documents of all tasks as asked, without examples in the context."""
        tasks = _loaded(self._names(), self.include_path, self.data_digest())
        documents = lm_eval_documents.task_documents(tasks, self.limit)
        items = (TestItem(_item_id(task, at, digest), *texts) for task, at, digest, *texts in documents)
        return TestSet("lm_eval", tuple(items))

    def check_items(self) -> None:
        """Raise UserError for a document whose right answer is not among its choices."""
        for name, task in _loaded(self._names(), self.include_path, self.data_digest()).items():
            lm_eval_bridge.check_gold(name, task, self.limit)

    def data_digest(self) -> str:
        """Digest of the task files and the local data that they name; hub data sets count by name."""
        hasher = hashlib.sha256()
        for path in sorted(set(self._files())):
            hasher.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return hasher.hexdigest()[:16]

    def scorer_facts(self) -> dict[str, str]:
        """lm-eval's version, since its prompts and rules change."""
        return {"lm_eval": installed_version("lm-eval")}

    def _names(self) -> tuple[str, ...]:
        if not self.tasks:
            raise UserError("lm_eval needs tasks", fix="Write for instance `lm_eval: {tasks: [arc_easy, mmlu]}`.")
        return self.tasks

    def _files(self) -> Iterator[Path]:
        for name in self._names():
            if name.endswith((".yaml", ".yml")):
                yield from files_of_task(Path(name))
        if self.include_path:
            for pattern in ("*.yaml", "*.yml"):
                for path in Path(self.include_path).rglob(pattern):
                    yield from files_of_task(path)


def chance_of(task: Any, sample: lm_eval_bridge.Sample) -> dict[str, float]:
    """The level of chance on this document; {} where the score is not a share of right choices.

    A task with its own scoring rule (TruthfulQA's mc2: a share of probability) has another level.
    """
    choices = getattr(task, "doc_to_choice", None)
    own_rule = getattr(getattr(task, "config", None), "process_results", None)
    if task.OUTPUT_TYPE != "multiple_choice" or own_rule or choices is None or sample.main.split(",")[0] not in SHARES:
        return {}
    return {"chance": 1 / len(choices(sample.document))}


def _item_id(task: str, number: int, digest: str) -> str:
    return f"{task}/{number}/{digest[:8]}"


@lru_cache(maxsize=2)
def _loaded(names: tuple[str, ...], include_path: str, digest: str) -> Mapping[str, Any]:
    """The loaded tasks, cached for all policies and seeds until a local file changes."""
    return lm_eval_bridge.load_tasks(names, include_path)
