"""All clauses, in the order in which they help a method's author, and the verdict on each."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.engine.contract import artifacts, conduct, learning, scores
from harness.engine.contract.bench import Bench, Broken, NotApplicable

Clause = Callable[[Bench], None]
AnyClause = Callable[[Any], None]
"""A clause of a method or of a benchmark, with the bench on which it is tried."""

CLAUSES: tuple[Clause, ...] = (
    artifacts.it_fits_and_loads,
    artifacts.it_declares_what_the_engine_knows,
    artifacts.its_policy_says_how_it_reads_a_prompt,
    artifacts.fitting_and_loading_leave_the_shared_bases_bit_for_bit,
    conduct.the_shared_tokenizer_encoder_and_configuration_stay_as_they_were,
    artifacts.an_artifact_holds_plain_files_without_absolute_paths,
    conduct.every_file_is_what_its_suffix_says,
    conduct.no_text_of_an_artifact_is_an_absolute_path,
    conduct.a_fit_writes_into_its_folder_and_reads_nothing_by_the_current_one,
    artifacts.equal_seeds_give_equal_bytes,
    artifacts.other_seeds_give_other_bytes,
    learning.training_on_demonstrations_makes_them_likelier,
    learning.training_on_preferences_widens_their_margins,
    learning.training_on_problems_makes_verified_answers_likelier,
    learning.training_lowers_its_own_loss,
    conduct.training_leaves_the_prompts_themselves_alone,
    conduct.the_micro_batch_moves_nothing_beyond_rounding,
    learning.the_report_says_whether_anything_was_trained,
    learning.the_trained_parameters_are_those_that_training_moved,
    scores.settings_that_change_nothing_score_as_the_base_within_rounding,
    scores.two_loads_score_alike_to_the_last_bit,
    scores.a_new_process_scores_alike_to_the_last_bit,
    scores.batching_moves_nothing_beyond_rounding,
    scores.the_order_of_a_batch_moves_nothing_beyond_rounding,
    scores.padding_on_either_side_scores_alike,
    scores.a_greedy_sample_scores_as_greedy,
    scores.a_sample_does_not_depend_on_its_batch,
    conduct.a_policy_answers_alike_however_much_it_was_asked,
    conduct.the_text_of_a_sample_is_that_of_its_tokens,
    conduct.sampling_keeps_samples_length_and_stop_strings,
    conduct.sampling_follows_seed_and_temperature,
    artifacts.nothing_is_fetched_from_the_network,
    conduct.nothing_is_fetched_while_sampling_or_scoring,
    conduct.no_other_program_is_started,
)


@dataclass(frozen=True)
class Verdict:
    """The result of trying a clause.

    reason           why the clause was skipped
    expected, found  how it failed
    """

    sentence: str
    state: Literal["passed", "skipped", "failed"]
    reason: str = ""
    expected: str = ""
    found: str = ""


def sentence(clause: AnyClause) -> str:
    """The clause's name as a sentence."""
    return clause.__name__.replace("_", " ")


def try_clause(clause: AnyClause, bench: Any, source: Path, through: tuple[type[BaseException], ...] = ()) -> Verdict:
    """Try one clause. An error raised by the plugin, whose file is `source`, breaks it too, but for those `through`."""
    try:
        clause(bench)
    except NotApplicable as why:
        return Verdict(sentence(clause), "skipped", reason=str(why))
    except Broken as broken:
        return Verdict(sentence(clause), "failed", expected=broken.expected, found=broken.found)
    except through:
        raise
    except Exception as error:
        return Verdict(sentence(clause), "failed", expected="no error", found=described(error, source))
    return Verdict(sentence(clause), "passed")


def described(error: BaseException, source: Path) -> str:
    """An error in one line, with the last line of the method's own file on its traceback, or of any file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == source] or frames
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text} ({own[-1].filename}:{own[-1].lineno})"
