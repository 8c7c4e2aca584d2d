"""Each choice that changes an equation names the test that holds it to an oracle, and keeps the promises of a method.

A loss that is added to a method without a row here fails.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from conftest import ROOT

from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.clauses import CLAUSES, try_clause
from harness.engine.registry import plugin_class
from harness.method import Method
from harness.training.objectives import Objective, noisy_embeddings
from methods._dpo_losses import LOSSES
from methods.base import Base
from methods.distill import Distill
from methods.dpo import Dpo
from methods.grpo import Grpo
from methods.interpolate import Interpolate
from methods.lora import Lora
from methods.prompting import Prompting
from methods.sft import Sft

# method and field: choice -> the file and the test whose expected values come from elsewhere: from TRL, or from a sum
# worked out by hand
CHOICES: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("dpo", "loss"): {
        "sigmoid": ("test_dpo", "test_the_loss_of_a_pair_by_hand"),
        "ipo": ("test_dpo", "test_the_loss_of_a_pair_by_hand"),
        "robust": ("test_dpo", "test_ids_boundaries_and_losses_are_those_of_trl_on_the_same_pairs"),
        "sigmoid_norm": ("test_dpo", "test_ids_boundaries_and_losses_are_those_of_trl_on_the_same_pairs"),
        "apo_zero": ("test_dpo", "test_ids_boundaries_and_losses_are_those_of_trl_on_the_same_pairs"),
        "apo_down": ("test_dpo", "test_ids_boundaries_and_losses_are_those_of_trl_on_the_same_pairs"),
        "simpo": ("test_dpo", "test_simpo_and_the_odds_of_orpo_are_those_of_trl"),
        "orpo": ("test_dpo", "test_simpo_and_the_odds_of_orpo_are_those_of_trl"),
    },
    ("sft", "loss"): {
        "nll": ("test_sft_options", "test_the_objective_without_any_option_is_the_mean_of_minus_log_p"),
        "dft": ("test_sft_options", "test_dynamic_fine_tuning_is_that_of_trl_on_the_same_rows"),
    },
    ("sft", "loss_on"): {
        "answers": ("test_sft_options", "test_an_option_that_is_off_leaves_every_bit"),
        "all": (
            "test_sft_options",
            "test_prompts_are_labelled_but_for_the_first_token_and_turns_that_are_not_imitated",
        ),
    },
    ("grpo", "loss_type"): {
        "grpo": ("test_grpo", "test_what_each_loss_divides_the_tokens_losses_by_is_worked_out_by_hand"),
        "dr_grpo": ("test_grpo", "test_what_each_loss_divides_the_tokens_losses_by_is_worked_out_by_hand"),
        "dapo": ("test_grpo", "test_what_each_loss_divides_the_tokens_losses_by_is_worked_out_by_hand"),
        "gspo": ("test_grpo", "test_the_sequence_ratios_of_gspo_by_hand"),
        "cispo": ("test_grpo", "test_the_capped_ratios_of_cispo_by_hand"),
        "rloo": ("test_grpo", "test_rloo_compares_an_answer_with_the_others_and_has_the_loss_of_trl"),
    },
    ("interpolate", "how"): {
        "linear": ("test_interpolate", "test_between_them_every_weight_is_on_the_line"),
        "slerp": ("test_interpolate", "test_an_arc_of_90_degrees_passes_through_45_and_small_angles_keep_their_ends"),
    },
    ("distill", "divergence"): {
        "reverse_kl": ("test_distill", "test_divergences_by_hand"),
        "generalised": ("test_distill", "test_divergences_are_those_of_trl"),
    },
    ("sdft", "teacher"): dict.fromkeys(
        ("ema", "live", "start"), ("test_distill", "test_the_teacher_follows_the_model_the_start_or_an_average")
    ),
}

# what is not a choice among names: the same, by what it is called in issues and papers
FURTHER: dict[str, tuple[str, str]] = {
    "kto": ("test_kto", "test_the_loss_is_that_of_trl_on_its_own_batch"),
    "sft: {loss_on: {prompt: w}}": ("test_sft_options", "test_the_weight_of_prompts_by_hand"),
    "sft: {replay: ...}": (
        "test_sft_options",
        "test_replayed_rows_make_up_their_share_and_their_digest_is_in_the_fields",
    ),
    "sft: {kl: ...}": ("test_sft_options", "test_the_divergence_from_the_base_by_hand_and_less_of_it_with_a_weight"),
    "sft: {neftune: ...}": (
        "test_sft_options",
        "test_noise_on_embeddings_is_that_of_transformers_where_nothing_is_padded",
    ),
    "sft: {start: ...}": ("test_sft_options", "test_it_goes_on_from_a_method_that_is_tuned_already"),
    "interpolate of several": (
        "test_interpolate",
        "test_several_methods_add_their_own_changes_and_a_negative_weight_takes_one_away",
    ),
    "interpolate of adapters": ("test_interpolate", "test_an_adapter_is_scaled_and_equals_the_merge_within_rounding"),
    "prompting: {examples: ...}": ("test_constant_prompt", "test_the_prompt_is_the_file_and_then_the_question"),
    "steering": ("test_steering", "test_the_vector_is_the_mean_difference_over_the_answers_tokens"),
    "sdft": ("test_distill", "test_self_distillation_shows_the_answer_to_the_teacher_alone"),
    "verbalized": ("test_verbalized", "test_answers_are_drawn_as_often_as_they_are_said_to_be_likely"),
    "contrastive": ("test_contrastive", "test_the_equation_by_hand"),
    "verifier unit_tests": ("test_rft", "test_programs_are_run_against_their_tests_only_where_the_user_agreed"),
    "verifier reward": ("test_rft", "test_a_reward_model_judges_by_a_threshold"),
}

# settings at which a method is another one, and the test that they are: to the last bit, unless it says otherwise
REDUCTIONS: dict[str, tuple[str, str]] = {
    "interpolate at 0 and 1": ("test_interpolate", "test_alpha_0_is_the_base_and_alpha_1_the_method_to_the_last_bit"),
    "steering at 0": ("test_steering", "test_strength_0_is_the_base_to_the_last_bit_and_more_is_not"),
    "contrastive at 0": ("test_contrastive", "test_strength_0_is_the_strong_model_to_the_last_bit"),
    "kl, replay, neftune at 0; loss_on: answers; start: base": (
        "test_sft_options",
        "test_an_option_that_is_off_leaves_every_bit",
    ),
    "robust without smoothing": ("test_dpo", "test_robust_without_wrong_labels_is_sigmoid"),
    "gspo and cispo at one update, within 1e-4": (
        "test_grpo",
        "test_one_update_of_gspo_is_one_of_grpo_and_one_of_cispo_that_of_dapo",
    ),
}

# settings that the check of each method with its defaults (test_contract.py) leaves out
VARIANTS: dict[str, Method] = {
    "dpo ipo": Dpo(loss="ipo"),
    "dpo robust": Dpo(loss="robust", label_smoothing=0.1),
    "dpo sigmoid_norm": Dpo(loss="sigmoid_norm", beta=5.0),
    "dpo apo_zero": Dpo(loss="apo_zero"),
    "dpo apo_down": Dpo(loss="apo_down"),
    "dpo simpo": Dpo(loss="simpo", beta=2.0, start=Base()),
    "dpo orpo": Dpo(loss="orpo", start=Base()),
    "sft dft": Sft(loss="dft"),
    "sft on all": Sft(loss_on="all"),
    "sft on weighted prompts": Sft(loss_on={"prompt": 0.1}),
    "sft neftune": Sft(neftune=5.0),
    "sft kl": Sft(kl={"weight": 0.1}),
    "sft replay": Sft(replay={"share": 0.25, "data": "microworld/curated-1k"}),
    "sft start": Sft(start=Lora()),
    "interpolate slerp": Interpolate(how="slerp"),
    "prompting examples": Prompting(examples="microworld"),
    "distill generalised": Distill(divergence="generalised", between=0.5, on_policy=0.5),
    "grpo dr_grpo": Grpo(loss_type="dr_grpo", scale_rewards="none"),
    "grpo dapo": Grpo(loss_type="dapo"),
    "grpo gspo": Grpo(loss_type="gspo"),
    "grpo cispo": Grpo(loss_type="cispo"),
    "grpo rloo": Grpo(loss_type="rloo", scale_rewards="none"),
}


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests of a file."""
    nodes = ast.parse((ROOT / "tests" / f"{file}.py").read_text("utf-8")).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("method", "field"), CHOICES)
def test_every_choice_of_an_equation_has_an_oracle(method: str, field: str) -> None:
    hint = get_type_hints(plugin_class("methods", method))[field]
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    assert {name for part in literals for name in get_args(part)} == set(CHOICES[method, field])
    for choice, (file, test) in CHOICES[method, field].items():
        assert test in names_in(file), f"{choice}: tests/{file}.py has no {test}"


def test_every_loss_that_a_method_offers_is_in_the_table() -> None:
    """A field called loss, or one of a name like it, that is a choice among names."""
    for path in sorted((ROOT / "methods").glob("[!_]*.py")):
        for field, hint in get_type_hints(plugin_class("methods", path.stem)).items():
            if get_origin(hint) is Literal and field.startswith(("loss", "divergence", "teacher", "how")):
                assert (path.stem, field) in CHOICES
    assert set(LOSSES) == set(CHOICES["dpo", "loss"])


@pytest.mark.parametrize("name", [*FURTHER, *REDUCTIONS])
def test_what_is_no_choice_among_names_has_a_test_too(name: str) -> None:
    file, test = {**FURTHER, **REDUCTIONS}[name]
    assert test in names_in(file)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_method_with_other_settings_keeps_every_promise(name: str, tmp_path: Path) -> None:
    method = VARIANTS[name]
    method.check()
    bench = Bench(quick(method), tmp_path)
    verdicts = {clause.__name__: try_clause(clause, bench, tmp_path / "x.py") for clause in CLAUSES}
    assert not [f"{clause}: {verdict}" for clause, verdict in verdicts.items() if verdict.state == "failed"]
    assert sum(verdict.state == "passed" for verdict in verdicts.values()) >= 20


def test_no_file_of_the_methods_is_longer_than_250_lines() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "methods").glob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 250}


@pytest.mark.parametrize("part", [LOSSES["simpo"].of, LOSSES["orpo"].of, Objective.summed, noisy_embeddings])
def test_simpo_orpo_dft_and_neftune_are_25_lines_at_most(part: Callable[..., Any]) -> None:
    """Without docstrings. Of `summed`, only two lines are of dft."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(part)))).body
    assert isinstance(function, ast.FunctionDef)
    body = function.body[1:] if ast.get_docstring(function) else function.body
    assert len(ast.unparse(ast.Module(body, [])).splitlines()) <= 25
