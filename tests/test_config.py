"""The experiment file: what is right is read, what is wrong is named with its line."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from command_line import bakeoff

from harness.engine.config import load_experiment
from harness.engine.results.provenance import tuned_in
from harness.engine.showable import clean, message
from harness.errors import UserError
from harness.method import plugin_name


def write(folder: Path, text: str) -> Path:
    file = folder / "experiment.yaml"
    file.write_text(text)
    return file


GOOD = """\
name: small
bases: [microworld/large]
small_base: microworld/small
methods:
  - base
  - {sft: {learning_rate: 5e-4}, as: tuned}
  - {proxy_tuning: {alpha: 0.5, expert: tuned}}
  - {sft: {epochs: 2}, as: small_sft, on: small_base}
benchmarks: [knowledge]
seeds: [0, 1]
baseline: base
"""


def test_a_good_experiment_is_read_with_its_labels_and_fields(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD))
    assert [entry.label for entry in experiment.methods] == ["base", "tuned", "proxy_tuning", "small_sft"]
    assert experiment.seeds == (0, 1)
    assert experiment.methods[3].on == "small_base"


def test_a_number_like_5e_4_which_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    assert load_experiment(write(tmp_path, GOOD)).methods[1].method.learning_rate == 5e-4  # type: ignore[attr-defined]


def test_a_label_given_where_a_method_is_due_stands_for_that_method(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD))
    assert experiment.methods[2].method.expert == experiment.methods[1].method  # type: ignore[attr-defined]


def test_set_changes_a_field_of_the_labelled_method_and_top_level_keys(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD), ["tuned.epochs=7", "seeds=[3]"])
    assert experiment.methods[1].method.epochs == 7  # type: ignore[attr-defined]
    assert experiment.methods[1].method.learning_rate == 5e-4  # type: ignore[attr-defined]
    assert experiment.seeds == (3,)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seeds: [0, 1]", "sedes: [0, 1]", 10, ["unknown key 'sedes'", "'seeds'"]),
        ("  - base\n", "  - bsae\n", 5, ["no method is called 'bsae'", "'base'"]),
        ("[knowledge]", "[knowlege]", 9, ["no benchmark is called 'knowlege'", "'knowledge'"]),
        ("learning_rate: 5e-4", "lerning_rate: 5e-4", 6, ["no field 'lerning_rate'", "'learning_rate'"]),
        ("learning_rate: 5e-4", "learning_rate: fast", 6, ["sft.learning_rate must be a number, got 'fast'"]),
        ("baseline: base", "baseline: bass", 11, ["`baseline` is 'bass'", "'base'"]),
        ("as: small_sft", "as: tuned", 8, ["two entries are labelled 'tuned'"]),
        ("small_base: microworld/small\n", "", 7, ["small_sft runs on the small base"]),
        ("seeds: [0, 1]", "seeds: [0, 0]", 10, ["`seeds` is [0, 0]"]),
        ("seeds: [0, 1]", "seeds: [0, 1", 10, ["broken YAML", "a bracket is not closed"]),
        ("seeds: [0, 1]", "name: twice", 10, ["'name' is given twice", "the first is at", "yaml:1."]),
        ("benchmarks: [knowledge]\n", "", 1, ["`benchmarks` is missing"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    assert old in GOOD
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_experiment(file)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert str(file) in message
    if "missing" not in message:
        assert f"{file}:{line}" in message, message


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "fix"),
    [
        ("  - base\n", "\t- base\n", 5, "a tab in the indentation", "`  - sft`"),
        ("  - base\n", "  - lora\n      rank: 4\n", 5, "lora has fields below it and no colon", "- {lora: {rank: 4}}"),
        ("  - base\n", "  - lora:\n    rank: 4\n", 5, "must name one plugin, got 2", "{lora: {rank: 4}}"),
        ("  - base\n", "  - lora: {rank: 4}\n    alpha: 2\n", 5, "must name one", "{lora: {rank: 4, alpha: 2}}"),
        ("  - base\n", "  - base\n - sft\n", 6, "it begins in another column", "`- sft` below `- base`"),
        ("seeds: [0, 1]", "seeds:[0, 1]", 10, "no space after the colon of seeds", "Write seeds: [0, 1]"),
        ("baseline: base", "baseline: a: b", 11, "a second colon", "baseline: 'a: b'"),
        ("baseline: base", "baseline: @base", 11, "character '@'", "'@base'"),
        ("baseline: base", "baseline: base\ndata: microworld/stories", 12, "`data` must be a mapping",
         "data: {demonstrations: microworld/stories}"),
    ],
)  # fmt: skip
def test_a_mistake_of_notation_has_its_line_and_an_example(
    tmp_path: Path, old: str, new: str, line: int, what: str, fix: str
) -> None:
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_experiment(file)
    assert caught.value.where == f"{file}:{line}"
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert "\n" not in caught.value.what + caught.value.fix


def test_a_setting_that_a_shell_took_apart_is_told_to_be_quoted(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    for setting in ("methods=[base", "methods"):
        with pytest.raises(UserError) as caught:
            load_experiment(file, [setting])
        assert "--set '" in caught.value.fix


SPREAD = """\
bases: [microworld/large]
methods:
  - base
  - sft:
      epochs: 2
      learning_rate:
        5e-4
      batch_size: many
    as: spread
  - proxy_tuning:
      expert:
        lora:
          rank: 2
          alpha: [1]
small_base: microworld/small
benchmarks:
  - knowledge
tune:
  trials: 4
  fields:
    spread: [epochs]
    proxy_tuning: [rank]
"""


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        ({}, 8, "sft.batch_size must be a whole number, got 'many'"),
        ({"many": "8"}, 14, "alpha must be a number, got [1]"),
        ({"many": "8", "[1]": "1", "5e-4": "-1"}, 6, "sft.learning_rate must be 0 or more, got -1"),
        ({"many": "8", "[1]": "1", "as: spread": "as: a/b"}, 9, "a label must begin"),
        ({"many": "8", "[1]": "1"}, 22, "proxy_tuning has no field 'rank' with a search range"),
        ({"many": "8", "[1]": "1", "trials: 4": "trials: 1"}, 19, "tune.trials must be 2 or more, got 1"),
        ({"many": "8", "[1]": "1", "rank: 2": "targets: 3"}, 13, "lora.targets must be text or a list, got 3"),
        ({"many": "8", "[1]": "1", "rank: 2": "targets: [q, 3]"}, 13, "lora.targets must be text, got 3"),
        ({"many": "8", "[1]": "1", "lora:": "laro:"}, 12, "no method is called 'laro'"),
    ],
)
def test_a_mistake_inside_an_entry_of_several_lines_is_reported_at_its_own_line(
    tmp_path: Path, change: dict[str, str], line: int, words: str
) -> None:
    text = SPREAD
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    file = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_experiment(file)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}: "), str(caught.value)


def test_yaml_1_2_words_timestamps_anchors_and_merges_are_read(tmp_path: Path) -> None:
    text = """\
name: 2020-01-01
bases: [microworld/large]
methods:
  - sft: &common {epochs: 2, max_length: 0o17}
    as: on
  - {sft: {<<: *common, epochs: 3}, as: no}
benchmarks: [knowledge]
"""
    experiment = load_experiment(write(tmp_path, text))
    assert experiment.name == "2020-01-01"
    assert [entry.label for entry in experiment.methods] == ["on", "no"]
    fields = [(entry.method.epochs, entry.method.max_length) for entry in experiment.methods]  # type: ignore[attr-defined]
    assert fields == [(2, 15), (3, 15)]


ALIASES = "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefghi"))
HOSTILE = {
    "alias bomb": f"a: &a [x, x]\n{ALIASES}\n",
    "self anchor": "margin: &a [*a]\n",
    "self anchor of the root": "&a\ndata: *a\n",
    "deep list": f"margin: {'[' * 5000}{']' * 5000}\n",
    "deep mapping": f"margin: {'{a: ' * 2000}1{'}' * 2000}\n",
    "huge integer": f"seeds: [{'9' * 5000}]\n",
    "seed of 65 bits": "seeds: [18446744073709551616]\n",
    "threads": "threads: 1000000000000\n",
    "python tag": "margin: !!python/object/apply:os.system ['true']\n",
    "unknown tag": "margin: !foo 1\n",
    "set": "margin: !!set {a, b}\n",
    "binary": "margin: !!binary '@@@'\n",
    "impossible date": "margin: 2020-13-45\n",
    "infinity": "margin: .inf\n",
    "list as a key": "? [a, b]\n: 1\n",
    "NUL": 'name: "a\\0b"\n',
    "surrogate": 'name: "\\ud800"\n',
    "two lines": 'name: "a\\n# --set x=1"\n',
    "raw NUL": "\0",
    "a list": "- a\n",
    "nothing": "",
    "many bytes": "#" * 100_000,
    "dots": "methods: ['../base']\n",
    "escape in a label": 'methods: [{base: {}, as: "\\e[31mx"}]\n',
    "right to left label": 'methods: [{base: {}, as: "\\u202Eesab"}]\n',
    "formula in a label": "methods: [{base: {}, as: '=cmd|x'}]\n",
    "device": "bases: [{name: microworld/small, device: 'cpu; true'}]\n",
    "folder as a template": "bases: [{name: microworld/small, chat_template: /}]\n",
    "unknown home": "data: {demonstrations: '~unknown/a.jsonl'}\nseeds: [-1]\n",
    "name of 5,000 letters": f"bases: [{'x' * 5000}]\n",
    "path of 5,000 letters": f"bases: [/{'x' * 5000}]\n",
    "merge that contains itself": "a: &a\n  <<: *a\n",
    "list of merges that contains itself": "a: &a [{<<: *a}]\n",
    "bomb of merges": "\n".join(
        ["a: &a {x: 1}", *(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in pairwise("abcdefghi"))]
    ),
    "wide list": f"seeds: [{', '.join(map(str, range(9000)))}]\n",
    "deep block": "margin:\n" + "- " * 20_000 + "1\n",
    "deep questions": "margin:\n " + "? " * 20_000 + "1\n",
    "long hexadecimal number": f"seeds: [0x{'f' * 40_000}]\n",
    "long fraction": f"margin: 1.{'9' * 40_000}\n",
    "an escape beyond Unicode": 'name: "\\UFFFFFFFF"\n',
    "YAML 1.1": "%YAML 1.1\n---\nstrict: on\n",
    "two documents": "margin: 1\n---\nmargin: 2\n",
    "truth as a number": "margin: true\n",
    "truths as seeds": "seeds: [true]\n",
    "sexagesimal": "threads: 190:20:30\n",
    "text that is no number": "margin: 'nan'\n",
    "null for a list": "seeds: null\n",
    "label of 5,000 letters": f"methods: [{{base: {{}}, as: {'x' * 5000}}}]\n",
    "label that ends in a space": "methods: [{base: {}, as: 'a '}]\n",
    "label with a hidden letter": 'methods: [{base: {}, as: "a\\u200Bb"}]\n',
    "escape in a base's label": 'bases: [{name: microworld/small, as: "\\e[31mx"}]\n',
    "right to left quality": 'data_quality: [&q "\\u202Eabc"]\ndata: {demonstrations: {*q : microworld/stories}}\n',
    "path as a name": 'name: "../../x"\n',
    "option as a name": 'name: "-x"\n',
    "long name": f"name: {'x' * 40_000}\n",
    "device of another kind": "bases: [{name: microworld/small, device: nul}]\n",
    "no date": "bases: [{name: microworld/small, date: 2025-02-30}]\n",
    "prompt as an argument": "bases: [{name: microworld/small, template_arguments: {messages: []}}]\n",
    "no opened answer": "bases: [{name: microworld/small, template_arguments: {add_generation_prompt: no}}]\n",
    "text as a template": "bases: [{name: microworld/small, chat_template: /etc/passwd}]\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_short_message_within_two_seconds(tmp_path: Path, text: str) -> None:
    known = "".join(f"{line}\n" for line in ("bases: [microworld/small]", "methods: [base]", "benchmarks: [knowledge]"))
    rest = "".join(line for line in known.splitlines(True) if line.split(":")[0] not in text)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_experiment(write(tmp_path, text + (rest if ": " in text else "")))
    assert time.process_time() - started < 2
    assert len(message(caught.value)) < 1000


def test_a_letter_that_only_looks_right_is_named(tmp_path: Path) -> None:
    for old, new in (("methods:", "m\u0435thods:"), ("[knowledge]", "[kn\u043ewledge]"), ("epochs:", "\u0435pochs:")):
        assert old in GOOD
        with pytest.raises(UserError, match="CYRILLIC SMALL LETTER"):
            load_experiment(write(tmp_path, GOOD.replace(old, new, 1)))


def test_a_pipe_without_a_writer_is_no_template(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    base = "bases: [{name: microworld/small, chat_template: pipe}]"
    text = f"{base}\nmethods: [base]\nbenchmarks: [knowledge]\n"
    with pytest.raises(UserError, match="the file is not a chat template"):
        load_experiment(write(tmp_path, text))


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long name", "loop", "nothing"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    place = {"device": Path("/dev/zero"), "long name": tmp_path / ("x" * 5000)}.get(kind, tmp_path / "x.yaml")
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "loop":
        place.symlink_to(place)
    with pytest.raises(UserError, match="no such experiment file"):
        load_experiment(place)


@pytest.mark.parametrize(
    "setting",
    [
        *(
            "",
            "=",
            "=1",
            ".x=1",
            "x",
            "x=1",
            "a.b.c=1",
            "margin=.nan",
            "margin=-1",
            "margin=true",
            "margin=[",
            "bases=null",
        ),
        *("margin=&a [*a]", "seeds=[0x" + "f" * 40_000 + "]", "margin=" + "[" * 5000, "margin=!!python/name:os.system"),
        *(
            "name=a\nbases: [x]",
            "name=\x1b[31m",
            "name=\udc80",
            "name=" + "x" * 40_000,
            "tuned.as=x",
            "tuned.epochs=true",
        ),
        *("tuned.\x1b[31m=1", "\u202etuned.epochs=1", "margin=2020-13-45", "methods=[..]", "tuned=5", "threads=0x"),
        "tuned.epochs=" + "9" * 40_000,
    ],
)
def test_a_hostile_setting_is_one_short_message_within_two_seconds(tmp_path: Path, setting: str) -> None:
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_experiment(write(tmp_path, GOOD), [setting])
    assert time.process_time() - started < 2
    shown = message(caught.value)
    assert len(shown) < 2500
    assert len(shown.split("\n")) <= 2
    assert clean(shown) == shown


def test_a_hostile_file_is_exit_code_2_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("bases: [microworld/small]\n", "utf-16")
    done = bakeoff("plan", str(tmp_path / "wide.yaml"))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "byte 0 is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_recorded_text_has_the_settings_and_plain_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert load_experiment(file, ["seeds=[3]"]).text == f"{GOOD}# --set seeds=[3]\n"


QUALITIES = """\
data_quality: [good, raw]
data:
  demonstrations: {good: microworld/curated-1k, raw: {name: microworld/curated-1k-unbiased, split: validation}}
  problems: microworld/stories
"""


def test_a_kind_of_data_may_have_a_set_for_each_quality_and_another_kind_one_for_all(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD + QUALITIES))
    assert experiment.data_quality == ("good", "raw")
    assert {quality: spec.name for quality, spec in experiment.data["demonstrations"].items()} == {
        "good": "microworld/curated-1k",
        "raw": "microworld/curated-1k-unbiased",
    }
    assert experiment.data["demonstrations"]["raw"].split == "validation"
    assert list(experiment.data["problems"]) == [""]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[good, raw]", "[good, row]", ["unknown key 'raw'", "'row'"]),
        ("[good, raw]", "[good, raw, third]", ["no set for the quality 'third'"]),
        ("[good, raw]", "[good, raw, raw]", ["`data_quality` is ["]),
        ("data_quality: [good, raw]\n", "", ["expected a data set", "data_quality"]),
        ("{good: microworld/curated-1k, raw: ", "{name: microworld/curated-1k, split: ", ["split must be text"]),
    ],
)
def test_a_mistake_in_the_qualities_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in QUALITIES
    with pytest.raises(UserError) as caught:
        load_experiment(write(tmp_path, GOOD + QUALITIES.replace(old, new, 1)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_axis_of_quality_without_sets_for_it_is_a_mistake(tmp_path: Path) -> None:
    text = "data_quality: [good, raw]\ndata: {demonstrations: microworld/curated-1k}\n"
    with pytest.raises(UserError, match="no kind of data has a set for each quality"):
        load_experiment(write(tmp_path, GOOD + text))


def test_a_set_that_names_nothing_known_is_a_mistake(tmp_path: Path) -> None:
    for setting, words in (("tunde.epochs=1", "'tuned'"), ("tuned.epoch=1", "'epochs'"), ("tuned", "no value")):
        with pytest.raises(UserError, match=words):
            load_experiment(write(tmp_path, GOOD), [setting])


def test_on_a_gpu_the_default_precision_is_bfloat16_and_on_cpu_float32(tmp_path: Path) -> None:
    for device, dtype in (("cuda", "bfloat16"), ("cpu", "float32")):
        text = GOOD.replace("[microworld/large]", f"[{{name: microworld/large, device: {device}}}]")
        assert load_experiment(write(tmp_path, text)).bases[0].dtype == dtype


def test_another_gpu_is_chosen_by_the_environment(tmp_path: Path) -> None:
    text = GOOD.replace("[microworld/large]", "[{name: microworld/large, device: 'cuda:1'}]")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=1"):
        load_experiment(write(tmp_path, text))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("bases=microworld/small", "`bases` must be a list"),
        ("seeds=3", r"Example: seeds: \[3\]"),
        ("tuned.epochs=-1", "epochs must be 1 or more, got -1"),
        ("tuned.learning_rate=-1e-3", "learning_rate must be 0 or more, got -0.001"),
        ("tuned.batch_size=0", "batch_size must be 1 or more, got 0"),
        ("knowledge.limit=0", "limit must be 1 or more, got 0"),
    ],
)
def test_impossible_values_are_found_before_anything_is_loaded(tmp_path: Path, setting: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_experiment(write(tmp_path, GOOD), [setting])


def test_one_model_in_two_precisions_needs_a_label_of_its_own(tmp_path: Path) -> None:
    twice = "[microworld/large, {name: microworld/large, dtype: bfloat16%s}]"
    with pytest.raises(UserError, match="two bases are called 'microworld/large'"):
        load_experiment(write(tmp_path, GOOD.replace("[microworld/large]", twice % "")))
    found = load_experiment(write(tmp_path, GOOD.replace("[microworld/large]", twice % ", as: large-bf16")))
    assert [(spec.label, spec.name, spec.dtype) for spec in found.bases] == [
        ("microworld/large", "microworld/large", "float32"),
        ("large-bf16", "microworld/large", "bfloat16"),
    ]


OTHERS = "bases: [microworld/large]\nsmall_base: microworld/small\nbenchmarks: [knowledge]\n"


@pytest.mark.parametrize("swapped", [False, True])
def test_a_label_means_its_entry_wherever_it_is_listed(tmp_path: Path, swapped: bool) -> None:
    entries = ["{proxy_tuning: {expert: sft}}", "{sft: {epochs: 5}}"]
    text = ", ".join(reversed(entries) if swapped else entries)
    read = load_experiment(write(tmp_path, OTHERS + f"methods: [{text}]"))
    experts = {entry.label: entry.method for entry in read.methods}
    assert experts["proxy_tuning"].expert == experts["sft"]  # type: ignore[attr-defined]
    assert experts["sft"].epochs == 5  # type: ignore[attr-defined]


def test_within_its_own_entry_a_label_is_the_plugin_of_that_name(tmp_path: Path) -> None:
    read = load_experiment(write(tmp_path, OTHERS + "methods: [{proxy_tuning: {expert: sft}, as: sft}]"))
    assert plugin_name(read.methods[0].method.expert) == "sft"  # type: ignore[attr-defined]


def test_entries_that_are_made_of_each_other_are_refused(tmp_path: Path) -> None:
    text = "methods: [{proxy_tuning: {expert: b}, as: a}, {proxy_tuning: {expert: a}, as: b}]"
    with pytest.raises(UserError, match="a and b are made of each other"):
        load_experiment(write(tmp_path, OTHERS + text))


def test_a_default_that_has_the_name_of_an_entry_is_that_entry(tmp_path: Path) -> None:
    entries = "[distill, {rft: {samples: 2}}, {sft: {learning_rate: 5e-4}}]"
    read = load_experiment(write(tmp_path, OTHERS + f"methods: {entries}"))
    distilled, rejected, tuned = (entry.method for entry in read.methods)
    assert distilled.teacher == tuned  # type: ignore[attr-defined]
    assert (rejected.samplers, rejected.tune) == ((tuned,), tuned)  # type: ignore[attr-defined]
    other = load_experiment(write(tmp_path, OTHERS + f"methods: {entries[:-2]}, as: other}}]"))
    assert other.methods[0].method.teacher.learning_rate == 1e-5  # type: ignore[attr-defined]


def test_a_question_is_one_line_of_text_however_it_is_written_and_nothing_by_default(tmp_path: Path) -> None:
    assert load_experiment(write(tmp_path, GOOD)).question == ""
    read = load_experiment(write(tmp_path, GOOD + "question: >\n  Does LoRA\n  forget less?\n"))
    assert read.question == "Does LoRA forget less?"


@pytest.mark.parametrize("given", ["[a, b]", "7", "|\n  two\n  lines", '"\\u202ereversed"', "x" * 161])
def test_a_question_that_is_no_line_of_text_is_refused_at_its_line(tmp_path: Path, given: str) -> None:
    with pytest.raises(UserError, match="`question` must be a line of text") as refused:
        load_experiment(write(tmp_path, GOOD + f"question: {given}\n"))
    assert str(refused.value.where).endswith("experiment.yaml:12")


def test_the_folder_in_which_settings_were_tuned_is_read_beside_the_experiment(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "matrix.json").write_text(json.dumps({"name": "rates", "digest": "abc"}))
    (folder / "tuning.json").write_text(json.dumps({"searches": [{"method": "sft", "trials": [{}, {}]}]}))
    experiment = load_experiment(write(tmp_path, GOOD + "tuned_in: sweep\n"))
    assert experiment.tuned_in == str(folder)
    assert tuned_in(folder) == {"folder": "sweep", "name": "rates", "digest": "abc", "trials": {"sft": 2}}


@pytest.mark.parametrize("given", ["nowhere", "7"])
def test_a_folder_without_results_is_refused_as_the_place_of_tuning(tmp_path: Path, given: str) -> None:
    with pytest.raises(UserError, match="tuned_in"):
        load_experiment(write(tmp_path, GOOD + f"tuned_in: {given}\n"))
