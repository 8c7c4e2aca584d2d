"""The same cells by hand and with `bakeoff run`: 135M instruct model; base, sft, lora x multiple choice, word problems.

    pytest -m slow -s tests/performance/test_by_hand.py

By hand is one TRL script per method and one lm-eval call per model, each in a process of its own. The parts are
measured in one process: a fit against a bare loop over labelled positions, multiple choice against HFLM, generation
against `generate` at an equal batch. Everything in rounds of alternating order, on one thread; the ratio of each round
is printed when it is done. A ratio is one of user seconds; it holds on a busy machine, and the wall seconds do not.

100 questions of MMLU whose choices are texts, 20 of GSM8K with 64 new tokens, 32 rows of GSM8K to train on. Smaller
and in parts, here with the default values:

    ROUNDS=2 QUESTIONS=100 PROBLEMS=20 TRAINING_ROWS=32 PARTS="training,multiple choice,generation" pytest ... -k part
"""

from __future__ import annotations

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = Path("/tmp/models/smollm2-135m-instruct")
SHARED = Path(os.environ.get("BAKEOFF_SHARED_DATA", ROOT.parent / "shared" / "data"))
ROUNDS, QUESTIONS, PROBLEMS, TRAINING_ROWS = (
    int(os.environ.get(name, count))
    for name, count in (("ROUNDS", 2), ("QUESTIONS", 100), ("PROBLEMS", 20), ("TRAINING_ROWS", 32))
)
GOALS = {"training": 1.0, "multiple choice": 0.25, "generation": 0.8}
PARTS = os.environ.get("PARTS", ",".join(GOALS)).split(",")
CHOICE_TASK = """\
task: hand_choice
dataset_path: json
dataset_kwargs: {data_files: {test: CHOICE_FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}]
"""
WORDS_TASK = """\
task: hand_words
dataset_path: json
dataset_kwargs: {data_files: {test: WORDS_FILE}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer.split('#### ')[1]}}"
generation_kwargs: {until: ["Question:"], max_gen_toks: 64, do_sample: false}
metric_list: [{metric: exact_match}]
"""
FIT = """
import sys, datasets, peft, torch, trl
torch.set_num_threads(1)
how, model, data, out = sys.argv[1:]
rows = datasets.load_dataset("json", data_files=data, split="train")
settings = trl.SFTConfig(out, num_train_epochs=1, per_device_train_batch_size=8, learning_rate=1e-5, use_cpu=True,
                         bf16=False, max_length=512, save_strategy="no", report_to="none", disable_tqdm=True,
                         model_init_kwargs={"dtype": "float32"})
adapter = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear") if how == "lora" else None
trainer = trl.SFTTrainer(model, settings, train_dataset=rows, peft_config=adapter)
trainer.train()
(trainer.model.merge_and_unload() if adapter else trainer.model).save_pretrained(out)
trainer.processing_class.save_pretrained(out)
"""
EVALUATE = """
import json, sys, lm_eval, torch
torch.set_num_threads(1)
model, folder = sys.argv[1:]
found = lm_eval.simple_evaluate("hf", model_args={"pretrained": model, "dtype": "float32"}, batch_size=16,
                                tasks=["hand_choice", "hand_words"], device="cpu", bootstrap_iters=0,
                                task_manager=lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False))
print("RESULT", json.dumps([found["results"]["hand_choice"]["acc,none"],
                            found["results"]["hand_words"]["exact_match,none"]]))
"""
EXPERIMENT = """\
name: by_hand
bases: [{name: MODEL, dtype: float32}]
data: {demonstrations: ROWS}
methods:
  - base
  - {sft: {learning_rate: 1e-5, epochs: 1, batch_size: 8}}
  - {lora: {learning_rate: 1e-5, epochs: 1, batch_size: 8}}
benchmarks: [{lm_eval: {tasks: [CHOICE, WORDS]}}]
seeds: [0]
baseline: base
reference: sft
threads: 1
micro_batch: 8
"""
PROBED = """
import sys, time
from harness.engine import cost
spent, probe = [0.0], cost.decoding_cost
def timed(*given):
    start = time.process_time()
    found = probe(*given)
    spent[0] += time.process_time() - start
    return found
cost.decoding_cost = timed
from harness.cli.main import main
try:
    main()
finally:
    print("RESULT", spent[0])
"""
EACH_PART = """
import json, sys, tempfile, time, torch
torch.set_num_threads(1)
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message
from harness.scoring.lm_eval.bridge import BridgeLM
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation, collate, sorted_within_batches, train
path, rounds, parts, rows, choices, words = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), *(
    [json.loads(line) for line in open(name)] for name in sys.argv[4:])
spec = BaseSpec(path, dtype="float32")
base = BaseModel(spec, locate(spec))
policy = base.policy()
turns = [tuple(Message(one["role"], one["content"]) for one in (*row["prompt"], *row["completion"])) for row in rows]
made = training_rows([Demonstration(own, str(at)) for at, own in enumerate(turns)], base.encoder)
settings = Optimisation(1e-5, 1, 8)

def fit_ours():
    train(base.load().float(), made, base, settings, FitContext(0, 8))

def fit_bare():
    model = base.load().float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0)
    lengths = [len(row.input_ids) for row in made.rows]
    order = sorted_within_batches(settings.order(len(lengths), 0), lengths, 8)
    for start in range(0, len(order), 8):
        batch = collate([vars(made.rows[at]) for at in order[start:start + 8]])
        hidden = model.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state[:, :-1]
        labels = batch["labels"][:, 1:]
        chosen = labels != -100
        torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), labels[chosen]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

hflm = HFLM(pretrained=policy.model, tokenizer=base.tokenizer, batch_size=16)
asked = [Instance("loglikelihood", {}, ("Question: " + one["question"] + "\\nAnswer:", " " + choice), at)
         for one in choices for at, choice in enumerate(one["choices"])]
bridge = BridgeLM(policy)
texts = ["Question: " + one["question"] + "\\nAnswer:" for one in words]

def write_ours():
    drawn = policy.sample([Prompt(text=text) for text in texts], Sampling(64), [str(at) for at in range(len(texts))])
    return sum(len(one.token_ids) for (one,) in drawn)

def write_library():
    tokens = base.tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
    with torch.inference_mode():
        made = policy.model.generate(**tokens, max_new_tokens=64, do_sample=False, use_cache=True)
    return made.shape[1] - tokens["input_ids"].shape[1]

pairs = {"training": (fit_ours, fit_bare),
         "multiple choice": (lambda: bridge.loglikelihood(asked, disable_tqdm=True),
                             lambda: hflm.loglikelihood(asked, disable_tqdm=True)),
         "generation": (write_ours, write_library)}
spent = {}
for number in range(rounds):
    for name in parts:
        for at in ((0, 1) if number % 2 else (1, 0)):
            cpu, wall = time.process_time(), time.perf_counter()
            pairs[name][at]()
            spent.setdefault(name, ([], []))[at].append((time.process_time() - cpu, time.perf_counter() - wall))
        own, other = (spent[name][at][-1][0] for at in (0, 1))
        print(f"SAID {name}, round {number + 1}: {own:.1f} / {other:.1f} s of CPU = {own / other:.3f}", flush=True)
print("RESULT", json.dumps(spent))
"""


def ran(script: str, *words: object) -> tuple[float, float, str]:
    """(user seconds, wall seconds, what it printed after RESULT) of a process; what follows SAID is printed at once."""
    paths = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.perf_counter()
    lines, result = [], ""
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env={**os.environ, **paths},
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("SAID"):
                print(f"  {line[5:]}", end="", flush=True)
            if line.startswith("RESULT"):
                result = line[7:].strip()
    assert process.returncode == 0, "".join(lines)[-6000:]
    wall, user = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return user, wall, result


def written(folder: Path) -> dict[str, Path]:
    """The rows, the two tasks and their items, and the experiment, in a folder."""
    lines: dict[str, list[object]] = {"rows": [], "choices": [], "words": []}
    for path in sorted((SHARED / "mmlu" / "test").glob("*.csv")):
        with path.open(newline="") as file:
            questions = list(csv.DictReader(file))[:4]
        for row in questions:
            choices = [row[f"choice{at}"] for at in range(4)]
            lines["choices"].append({"question": row["question"], "choices": choices, "answer": int(row["answer"])})
    lines["choices"] = lines["choices"][:QUESTIONS]
    for name, file, count in (("rows", "train", TRAINING_ROWS), ("words", "test", PROBLEMS)):
        for text in (SHARED / "gsm8k" / f"{file}.jsonl").read_text().splitlines()[:count]:
            row = json.loads(text)
            turns = {"prompt": [{"role": "user", "content": row["question"]}],
                     "completion": [{"role": "assistant", "content": row["answer"]}]}  # fmt: skip
            lines[name].append(turns if name == "rows" else row)
    paths = {name: folder / f"{name}.jsonl" for name in lines}
    for name, items in lines.items():
        paths[name].write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "tasks").mkdir()
    for name, text, file in (("choice", CHOICE_TASK, "choices"), ("word", WORDS_TASK, "words")):
        paths[name] = folder / "tasks" / f"hand_{name}.yaml"
        paths[name].write_text(
            text.replace(f"{file.upper()}_FILE", str(paths[file])).replace("CHOICE_FILE", str(paths[file]))
        )
    named = {"MODEL": MODEL, "ROWS": paths["rows"], "CHOICE": paths["choice"], "WORDS": paths["word"]}
    experiment = EXPERIMENT
    for name, path in named.items():
        experiment = experiment.replace(name, str(path))
    paths["experiment"] = folder / "by_hand.yaml"
    paths["experiment"].write_text(experiment)
    return paths


def by_hand(paths: dict[str, Path], folder: Path) -> tuple[float, float]:
    """(user, wall) seconds of two fits and three evaluations."""
    total, models = [0.0, 0.0], {"base": MODEL, "sft": folder / "sft", "lora": folder / "lora"}
    for how, model in models.items():
        steps = [] if how == "base" else [("fit", FIT, (how, MODEL, paths["rows"], model))]
        for what, script, words in [*steps, ("score", EVALUATE, (model, paths["choice"].parent))]:
            user, wall, said = ran(script, *words)
            print(f"  by hand, {what} {how}: {user:.0f} s of CPU, {wall:.0f} s {said}", flush=True)
            total = [total[0] + user, total[1] + wall]
    return total[0], total[1]


def with_bakeoff(paths: dict[str, Path], folder: Path) -> tuple[float, float, float]:
    """(user, wall) seconds of one run, and the share of the probe of decoding speed."""
    places = ("--store", folder / "store", "--out", folder / "results")
    user, wall, probe = ran(PROBED, "run", paths["experiment"], *places)
    print(f"  bakeoff run: {user:.0f} s of CPU, {wall:.0f} s; {float(probe):.1f} s of CPU for the probe", flush=True)
    return user, wall, float(probe) / user


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.exists() or not (SHARED / "mmlu").exists(), reason=f"needs {MODEL} and {SHARED}")
def test_the_whole_by_hand_and_with_one_run(tmp_path: Path) -> None:
    paths = written(tmp_path)
    users, walls, shares = [], [], []
    print(f"\nload {os.getloadavg()[0]:.1f}")
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        if number % 2:
            ours, hand = with_bakeoff(paths, folder), by_hand(paths, folder)
        else:
            hand, ours = by_hand(paths, folder), with_bakeoff(paths, folder)
        users.append(hand[0] / ours[0])
        walls.append(hand[1] / ours[1])
        shares.append(ours[2])
        print(f"round {number + 1}: {users[-1]:.2f} x faster in CPU, {walls[-1]:.2f} x on the clock", flush=True)
    print(f"the whole: {statistics.median(users):.2f} x faster in CPU, {statistics.median(walls):.2f} x on the clock")
    print(f"the probe: {max(shares):.2%} of the run's CPU at most; load {os.getloadavg()[0]:.1f}")
    assert statistics.median(users) > 1
    if (QUESTIONS, PROBLEMS) == (100, 20):  # a small run is scored in less time than the probe's least
        assert max(shares) <= 0.02


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.exists() or not (SHARED / "mmlu").exists(), reason=f"needs {MODEL} and {SHARED}")
def test_each_part_beside_the_bare_library(tmp_path: Path) -> None:
    paths = written(tmp_path)
    print()
    files = (paths["rows"], paths["choices"], paths["words"])
    spent = json.loads(ran(EACH_PART, MODEL, ROUNDS, ",".join(PARTS), *files)[2])
    for name, (ours, theirs) in spent.items():
        own, other = ([statistics.median(each) for each in zip(*times, strict=True)] for times in (ours, theirs))
        print(f"{name}: {own[0] / other[0]:.3f} x the CPU of the bare library (goal {GOALS[name]}):"
              f" {own[0]:.1f} and {other[0]:.1f} s, on the clock {own[1]:.1f} and {other[1]:.1f} s")  # fmt: skip
    assert list(spent) == PARTS
