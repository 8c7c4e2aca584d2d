"""Write the training sets of this study from the microworld's own generators; the same files every time.

python results/mixtures/prepare.py FOLDER      (experiment.yaml reads results/mixtures/*.jsonl)

answers_only  curated-1k whose stories are answered with the total alone
mix_S         900 rows, S % of them stories; the others are the first rows of curated-1k that are not stories
dose_N        mix_20, in which N of its 180 stories are stories of the test set
thirty        970 rows of curated-1k and 30 conversations of three turns
"""

import json
import sys
from pathlib import Path

from harness.microworld import datasets, phrases
from harness.microworld.dialogues import dialogues
from harness.microworld.tasks import Task

ROWS = 900
Row = tuple[str, list[tuple[str, str]]]  # an id, and a request with its answer for each turn


def row(task: Task, identity: str, answer: str = "") -> Row:
    """A task as a row of one turn."""
    return identity, [(task.prompt, answer or task.answer)]


def stories(split: str) -> list[Row]:
    """The stories of a split with worked answers."""
    return [row(task, f"stories/{split}/{at:04d}") for at, (task, _) in enumerate(datasets.tasks_of("stories", split))]


def total_alone(task: Task) -> str:
    """The answer of a story without its equations; "" for other tasks, which keep theirs."""
    total = task.content[0].arguments["total"] if task.kind == "story" else None
    return "" if total is None else f"{phrases.STORY_CUE} total {total} ."


def sets() -> dict[str, list[Row]]:
    """Every set by name."""
    tasks = [task for task, _ in datasets.tasks_of("curated-1k", "train")]
    curated = [row(task, f"curated/{at:04d}-{task.kind}") for at, task in enumerate(tasks)]
    others = [one for one, task in zip(curated, tasks, strict=True) if task.kind != "story"]
    own, planted = stories("train"), stories("test")

    def mixed(count: int, dose: int = 0) -> list[Row]:
        return [*others[: ROWS - count], *planted[:dose], *own[: count - dose]]

    turns = [(one.id, list(zip(one.turns, one.references, strict=True))) for one in dialogues("train", 10)]
    return {
        "answers_only": [row(task, f"short/{at:04d}", total_alone(task)) for at, task in enumerate(tasks)],
        **{f"mix_{share}": mixed(share * ROWS // 100) for share in (0, 7, 20, 40)},
        **{f"dose_{dose}": mixed(ROWS // 5, dose) for dose in (50, 150)},
        "thirty": [*curated[:970], *turns],
    }


def main(folder: Path) -> None:
    """One file per set."""
    for name, rows in sets().items():
        lines = []
        for identity, turns in rows:
            said = [message for asked, told in turns for message in (("user", asked), ("assistant", told))]
            messages = [{"role": role, "content": content} for role, content in said]
            lines.append(json.dumps({"id": identity, "messages": messages}) + "\n")
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
