"""The experiment file: what is right is read, what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine.config import load_experiment
from harness.errors import UserError


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
        ("learning_rate: 5e-4", "learning_rate: fast", 6, ["'fast' will not do"]),
        ("baseline: base", "baseline: bass", 11, ["`baseline` is 'bass'", "'base'"]),
        ("as: small_sft", "as: tuned", 8, ["two entries are labelled 'tuned'"]),
        ("small_base: microworld/small\n", "", 3, ["small_sft runs on the small base"]),
        ("seeds: [0, 1]", "seeds: [0, 0]", 10, ["`seeds` is [0, 0]"]),
        ("seeds: [0, 1]", "seeds: [0, 1", 11, ["broken YAML"]),
        ("seeds: [0, 1]", "name: twice", 10, ["'name' is given twice", "line 1"]),
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
        ("data_quality: [good, raw]\n", "", ["names no data set", "data_quality"]),
        ("{good: microworld/curated-1k, raw: ", "{name: microworld/curated-1k, split: ", ["will not do"]),
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
    for setting, words in (
        ("tunde.epochs=1", "'tuned'"),
        ("tuned.epoch=1", "'epochs'"),
        ("tuned", "no value"),
    ):
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
        ("bases=microworld/small", "`bases` is no list"),
        ("seeds=3", r"Write a list: \[3\]"),
        ("tuned.epochs=-1", "epochs is -1"),
        ("tuned.learning_rate=-1e-3", "learning_rate is -0.001"),
        ("tuned.batch_size=0", "batch_size is 0"),
        ("knowledge.limit=0", "limit is 0"),
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
