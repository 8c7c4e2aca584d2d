"""The first screen of a report: the sentence, the words for how sure it is, the candidates and the picture."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from test_report import Fake, pages

from harness.files import write_json
from harness.report.collect import collect
from harness.report.findings.first_screen import opening_of
from harness.report.findings.how_sure import sure_of
from harness.report.numbers.matrix import read_matrix
from harness.report.render.bands import Ends, in_plain, lines_of, number, shown_ends
from harness.report.render.document import Opening
from harness.report.render.forest_picture import ForestRow, draw_forest
from harness.report.render.front_picture import Mark, Trade, draw_front, spread
from harness.report.render.opening_text import opening_lines
from harness.report.render.tabular import change, change_interval, deciding_digits
from harness.stats.intervals import Estimate

SAFE = {"plain": (0.3, 0.7), "tuned": (0.8, 0.76), "harsh": (0.6, 0.3), "weak": (0.31, 0.7)}
"""With 600 items, tuned is shown to gain and to lose less than 10 points: its answers are drawn apart from plain's."""


def opening(folder: Path) -> Opening:
    return opening_of(collect(folder))


def without_role(folder: Path, role: str) -> Path:
    """The same results without the benchmark of a role."""
    matrix = json.loads((folder / "matrix.json").read_text())
    gone = [b["label"] for b in matrix["benchmarks"] if any(m["role"] == role for m in b["metrics"])]
    matrix["benchmarks"] = [b for b in matrix["benchmarks"] if b["label"] not in gone]
    matrix["cells"] = [cell for cell in matrix["cells"] if cell["benchmark"] not in gone]
    write_json(folder / "matrix.json", matrix)
    return folder


def test_a_method_that_gains_and_keeps_is_shown_and_the_sentence_says_to_use_it(tmp_path: Path) -> None:
    """tuned gains 50 points and 6 of knowledge, harsh loses 40 of knowledge, weak gains 1."""
    folder = Fake(skills=SAFE, items=600).write(tmp_path)
    block = collect(folder).blocks[0]
    sure = {label: sure_of(label, block, read_matrix(folder)) for label in ("tuned", "harsh", "weak")}
    assert sure == {"tuned": "shown", "harsh": "worse", "weak": "idle"}
    found = opening(folder)
    assert found.answer[0] == "Use tuned:"
    assert re.match(
        r"\+\d\d points on tasks \(\+\d\d to \+\d\d\), and shown to lose less than 10 points of knowledge \(",
        found.answer[1],
    )
    assert found.strips[0].decide == ""
    assert [one.method for one in found.strips[0].candidates] == ["tuned", "weak", "harsh"]


def test_shown_worse_says_on_what_in_the_tally_the_rows_and_as_text(tmp_path: Path) -> None:
    """harsh loses 40 points of facts; blunt loses 28 of tasks and 60 of facts."""
    skills = {**SAFE, "blunt": (0.02, 0.1)}
    folder = Fake(skills=skills, items=600).write(tmp_path)
    strip = opening(folder).strips[0]
    assert {one.method: one.note for one in strip.candidates if one.sure == "worse"} == {
        "harsh": "on facts",
        "blunt": "on tasks and facts",
    }
    assert strip.worse_at == "2 on facts, 1 on tasks"
    markdown, web, _ = pages(folder)
    assert "shown worse (on facts)" in markdown
    assert "shown worse (2 on facts, 1 on tasks)" in web
    assert opening(Fake(skills=SAFE, items=600).write(tmp_path / "one")).strips[0].worse_at == "on facts"


def test_candidates_are_in_the_order_of_the_tally_and_controls_are_last_and_not_counted(tmp_path: Path) -> None:
    """The control has the best score of all, and is not to be chosen."""
    folder = Fake(skills={**SAFE, "echo": (0.95, 0.7)}, items=600).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    for method in matrix["methods"]:
        method["answers_are_fixed"] = method["label"] == "echo"
    write_json(folder / "matrix.json", matrix)
    found = opening(folder)
    strip = found.strips[0]
    assert [one.method for one in strip.candidates] == ["tuned", "weak", "harsh", "echo"]
    assert [kind for kind, _ in strip.tally] == [one.sure for one in strip.candidates[:3]]
    assert sum(count for _, count in strip.tally) == 3
    assert strip.caption == "All 3 methods and a control"
    assert strip.candidates[3].note == "control with fixed answers"
    assert found.answer[0] == "Use tuned:"
    assert "Which of 3 ways of aligning" in pages(folder)[0]


def test_in_a_grid_of_settings_controls_are_last_and_named_as_such(tmp_path: Path) -> None:
    skills = {"plain": (0.3, 0.7), "echo": (0.95, 0.7), "tuned": (0.8, 0.69)}
    folder = Fake(skills=skills, items=60, bases=("world/large", "world/other")).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    for method in matrix["methods"]:
        method["answers_are_fixed"] = method["label"] == "echo"
    write_json(folder / "matrix.json", matrix)
    assert [label for label, _ in opening(folder).grid] == ["tuned", "echo (control)"]


def test_the_caption_says_how_many_of_each_kind_are_not_shown(tmp_path: Path) -> None:
    skills = {**SAFE, **{f"harsh_{at}": (0.6, 0.25 + at / 100) for at in range(5)}}
    strip = opening(Fake(skills=skills, items=600).write(tmp_path)).strips[0]
    assert strip.caption == "5 of 8 methods: 1 shown, 4 of 6 shown worse"


def test_no_badge_says_one_base_model_beside_methods_that_use_another(tmp_path: Path) -> None:
    found = opening(Fake(items=60, small=frozenset({"harsh"})).write(tmp_path))
    said = [one.text for one in found.badges if one.warns]
    assert said == ["1 of 3 methods uses another base model", "about world/large only"]


def test_where_every_mean_is_a_loss_the_sentence_names_the_closest_and_no_best_change(tmp_path: Path) -> None:
    """Both are below plain on tasks; low is the better one there, and keeps less knowledge."""
    skills = {"plain": (0.5, 0.7), "lower": (0.40, 0.7), "low": (0.47, 0.65)}
    found = opening(Fake(skills=skills, items=150, reference=None).write(tmp_path))
    assert found.answer[0] == "No method is shown to improve plain:"
    assert found.answer[1].startswith("no mean on tasks is better than that of plain, and low comes closest: −")
    skills = {"plain": (0.5, 0.7), "higher": (0.58, 0.7), "low": (0.47, 0.65)}
    found = opening(Fake(skills=skills, items=150, reference=None).write(tmp_path / "up"))
    assert found.answer[1].startswith("the best mean change is that of higher, +")
    skills = {"plain": (0.5, 0.7), "low": (0.47, 0.65)}
    found = opening(Fake(skills=skills, items=150, reference=None).write(tmp_path / "one"))
    assert found.answer[1].startswith("low has −")


def test_the_sentence_names_what_is_shown_better_on_a_metric_that_measures_no_gain(tmp_path: Path) -> None:
    """Neither is better on tasks, and one knows far more."""
    skills = {"plain": (0.5, 0.5), "lower": (0.40, 0.5), "low": (0.47, 0.9)}
    found = opening(Fake(skills=skills, items=600, reference=None).write(tmp_path))
    assert found.answer[0] == "No method is shown to improve plain:"
    assert found.answer[1].endswith("; low is shown better on facts alone.")


def test_methods_without_a_row_are_named_with_their_words_below_the_table(tmp_path: Path) -> None:
    """Of eight, the best, four that are shown worse: two more of those and weak have no row."""
    skills = {**SAFE, **{f"harsh_{at}": (0.6, 0.25 + at / 100) for at in range(5)}}
    folder = Fake(skills=skills, items=600).write(tmp_path)
    strip = opening(folder).strips[0]
    rows = {one.method for one in strip.candidates}
    left = set(skills) - rows - {"plain"}
    assert len(left) == 3
    said = re.sub(r" \([^)]*\)|;|,| and", "", strip.left_out).split()
    assert set(said) == left
    assert "weak (no gain shown)" in strip.left_out
    markdown, web, _ = pages(folder)
    assert "Not in this table: weak" in web
    assert "Not in this table: weak" in markdown
    assert any(line.strip().startswith("Not in this table: weak") for line in opening_lines(opening(folder)))


def test_a_method_that_gains_and_loses_elsewhere_is_no_winner_and_the_sentence_says_where(tmp_path: Path) -> None:
    """harsh gains 30 points of tasks and loses 40 of facts; blunt does too, unlike weak, which gains nothing."""
    skills = {"plain": (0.3, 0.7), "harsh": (0.6, 0.3), "weak": (0.31, 0.7)}
    found = opening(Fake(skills=skills, items=600, reference=None).write(tmp_path / "one"))
    assert found.answer[0] == "No winner:"
    assert "but it is shown to lose knowledge (−" in found.answer[1]
    skills["blunt"] = (0.55, 0.3)
    found = opening(Fake(skills=skills, items=600, reference=None).write(tmp_path / "two"))
    assert "but like every method that improves plain it is shown to lose knowledge (−" in found.answer[1]


def test_where_knowledge_is_open_the_sentence_says_so_and_what_would_decide_it(tmp_path: Path) -> None:
    folder = Fake(skills={"plain": (0.3, 0.7), "tuned": (0.8, 0.69)}, items=150).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    write_json(folder / "matrix.json", {**matrix, "margin": 0.02})
    found = opening(folder)
    assert found.answer[0] == "No clear winner yet:"
    assert found.answer[1].startswith("tuned comes closest to a gain that keeps knowledge: +")
    assert "knowledge undecided (" in found.answer[1]
    decide = found.strips[0].decide
    assert re.search(r"about [\d,]+ independent items of facts \(now 150\)|more items and more seeds together", decide)
    assert "after the correction for 2 tests" in decide


def test_one_seed_is_a_badge_and_the_sentence_is_about_these_runs(tmp_path: Path) -> None:
    found = opening(Fake(skills=SAFE, items=600, seeds=(0,)).write(tmp_path))
    assert found.answer[0] == "In these trained runs, tuned:"
    assert next(one.text for one in found.badges if one.warns) == "one seed: these trained runs only"


@pytest.mark.parametrize(("role", "words"), [("knowledge", "Use tuned:"), ("quality", "No benchmark measures quality")])
def test_it_works_with_one_benchmark_only(tmp_path: Path, role: str, words: str) -> None:
    folder = without_role(Fake(items=300).write(tmp_path), role)
    assert opening(folder).answer[0].startswith(words)
    markdown, web, _ = pages(folder)
    assert words in markdown
    assert 'id="answer"' in web


def test_a_base_at_chance_is_a_warning_and_no_praise_for_keeping_knowledge(tmp_path: Path) -> None:
    """Chance is 25 %, and the base answers 25 % of the facts."""
    skills = {"plain": (0.3, 0.25), "tuned": (0.8, 0.25)}
    found = opening(Fake(skills=skills, items=600).write(tmp_path))
    assert "plain answers knowledge by chance" in [one.text for one in found.badges if one.warns]
    assert "shown to lose less" not in found.answer[1]


def test_several_settings_have_a_grid_and_an_answer_each(tmp_path: Path) -> None:
    found = opening(Fake(skills=SAFE, items=600, bases=("world/large", "world/other")).write(tmp_path))
    assert len(found.strips) == 2
    assert [label for label, _ in found.grid] == ["tuned", "harsh", "weak"]
    assert dict(found.grid)["tuned"] == ("shown", "shown")
    assert found.answer == ("In all 2 settings:", "tuned is shown to improve plain and to keep its knowledge.")


def test_the_sentence_over_several_settings_names_what_is_worse(tmp_path: Path) -> None:
    """Where the second benchmark is not one of knowledge, a method that is worse on it is still shown to improve."""
    skills = {"plain": (0.3, 0.7), "tuned": (0.8, 0.3)}
    folder = Fake(skills=skills, items=200, reference=None, bases=("world/large", "world/other")).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    (title,) = {in_plain(b["label"]) for b in matrix["benchmarks"] for m in b["metrics"] if m["role"] == "knowledge"}
    for benchmark in matrix["benchmarks"]:
        for metric in benchmark["metrics"]:
            metric["role"] = "other" if metric["role"] == "knowledge" else metric["role"]
    write_json(folder / "matrix.json", matrix)
    said = f"tuned is shown to improve plain, but to be worse on {title}; knowledge was not measured."
    assert opening(folder).answer == ("In all 2 settings:", said)


def test_every_badge_and_contents_link_leads_to_an_anchor_of_the_page(tmp_path: Path) -> None:
    for fake in (Fake(), Fake(seeds=(0,)), Fake(bases=("world/large", "world/other"), items=60)):
        _, web, _ = pages(fake.write(tmp_path / str(len(fake.bases)) / str(len(fake.seeds))))
        wanted = set(re.findall(r'href="#([^"]+)"', web))
        known = re.findall(r'\bid="([^"]+)"', web)
        assert wanted <= set(known)
        assert len(known) == len(set(known))


def test_only_the_first_three_sections_are_unfolded(tmp_path: Path) -> None:
    _, web, _ = pages(Fake().write(tmp_path))
    assert web.count('<details class="section" open>') == 3
    assert web.count('<details class="section">') > 5


def test_names_are_a_step_apart_in_the_order_of_their_marks() -> None:
    places = spread([10.0, 11.0, 12.0, 200.0], 15.0, 0.0, 300.0)
    assert places == [10.0, 25.0, 40.0, 200.0]
    assert spread([290.0, 295.0, 299.0], 15.0, 0.0, 300.0) == [270.0, 285.0, 300.0]


def test_the_front_joins_the_means_that_no_other_beats_and_names_what_is_too_far_away() -> None:
    """b beats c on both axes; d lies 60 points away from the rest, whose picture is 7 points wide."""
    marks = [
        Mark("a", 0.0, 50.0, (-1.0, 1.0), (45.0, 55.0), "shown", True),
        Mark("b", -2.0, 80.0, (-4.0, 0.0), (75.0, 85.0), "undecided", True),
        Mark("c", -3.0, 70.0, (-6.0, 0.0), None, "worse", False),
        Mark("d", -60.0, 90.0, None, None, "worse", False),
    ]
    svg, said = draw_front(Trade("", tuple(marks), "change", "score", 2.0, (True, True)))
    assert said.endswith("On the front of the means: a and b.")
    assert "not drawn: d (−60)" in svg
    assert svg.split('class="explained"')[0].count('class="mark"') == 3


def test_the_picture_explains_its_lines_and_names_both_axes_with_their_units() -> None:
    """c has no row in the table: its mark is faded, and it has no lines."""
    marks = (
        Mark("a", 0.0, 50.0, (-1.0, 1.0), (45.0, 55.0), "shown", True),
        Mark("b", -2.0, 80.0, (-4.0, 0.0), (75.0, 85.0), "undecided", True),
        Mark("c", -3.0, 70.0, (-6.0, 0.0), None, "worse", False),
    )
    trade = Trade("", marks, "change in facts, points", "change in tasks, points", 2.0, (True, True), (), "95 % band")
    plot, legend = draw_front(trade)[0].split('<g class="explained">')
    said = re.findall(r"<text [^>]*>([^<]+)<", legend)
    assert said == [
        "mean with its 95 % band",
        "faded: a method that is not in the table, its interval not drawn",
        "the front: no other method has better means on both axes",
    ]
    assert ">↑ change in tasks, points<" in plot
    assert ">change in facts, points →<" in plot
    loud = tuple(replace(mark, loud=True) for mark in marks)
    assert "faded" not in draw_front(replace(trade, marks=loud))[0]


def test_where_many_methods_are_drawn_only_those_that_matter_are_named() -> None:
    """a and b are candidates, and the front; lines to twenty names more would cover them."""
    marks = [Mark(name, x, y, None, None, "shown", True) for name, x, y in (("a", 0.0, 50.0), ("b", -2.0, 80.0))]
    marks += [Mark(f"other{at}", -3.0 - at / 10, 40.0, None, None, "worse", False) for at in range(20)]
    svg, said = draw_front(Trade("", tuple(marks), "change", "score", 2.0, (True, True)))
    assert re.findall(r'class="name[^"]*" [^>]*>([^<]+)<', svg) == ["b", "a"]
    assert "faded: a method that is not in the table, without name or interval" in svg
    assert "other7" in said
    few, _ = draw_front(Trade("", tuple(marks[:10]), "change", "score", 2.0, (True, True)))
    assert few.count('class="name quiet') == 8


def test_the_front_is_no_line_along_an_interval() -> None:
    """Steps would lie on both intervals of each mark; the straight line from one mark to the next lies on none."""
    marks = tuple(
        Mark(name, x, y, (x - 1, x + 1), (y - 5, y + 5), "shown", True) for name, x, y in (("a", 0, 50), ("b", -3, 80))
    )
    svg, _ = draw_front(Trade("", marks, "change", "score", 2.0, (True, True)))
    (path,) = re.findall(r'class="best" d="([^"]+)"><title>', svg)
    assert re.fullmatch(r"M[\d.]+ [\d.]+L[\d.]+ [\d.]+", path)


def test_numbers_of_the_lower_axis_that_would_touch_are_left_out_but_for_0() -> None:
    marks = tuple(Mark(name, x, 1.0, None, None, "idle", True) for name, x in (("a", -0.0118), ("b", 0.0118)))
    svg, _ = draw_front(Trade("", marks, "change", "score", 0.0, (True, False)))
    places = [(float(x), said) for x, said in re.findall(r'class="tick middle" x="([\d.]+)" y="351">([^<]+)<', svg)]
    assert "0" in [said for _, said in places]
    for (low, said), (high, other) in pairwise(sorted(places)):
        assert high - low >= 6.6 * (len(said) + len(other)) / 2


def test_lines_that_lead_to_names_lie_below_the_intervals_which_they_would_seem_to_fade() -> None:
    marks = tuple(
        Mark(name, x, 50.0, (x - 1, x + 1), (45.0, 55.0), "shown", True) for name, x in (("a", 0.0), ("b", -3.0))
    )
    svg, _ = draw_front(Trade("", marks, "change", "score", 2.0, (True, True)))
    assert svg.count('class="leader"') == 2
    assert svg.rindex('class="leader"') < svg.index('class="span"')


def test_a_method_without_a_mark_is_named_below_the_picture_and_in_its_words() -> None:
    marks = (Mark("a", 0.0, 50.0, None, None, "shown", True), Mark("b", -2.0, 80.0, None, None, "idle", True))
    svg, said = draw_front(Trade("", marks, "change", "score", 0.0, (True, True), ("echo", "vote")))
    assert "not drawn: echo (not measured), vote (not measured)<" in svg
    assert said.endswith("Not measured on one of the two: echo and vote.")


@pytest.mark.parametrize("high", [100.0, 0.0001])
def test_no_mark_or_interval_lies_on_a_number_of_the_upright_axis(high: float) -> None:
    """The numbers begin 3 px inside the plot; a letter is 7.3 px wide."""
    marks = (
        Mark("far", -40.0, 0.2 * high, (-45.0, -35.0), None, "worse", True),
        Mark("near", 0.0, high, (-1.0, 1.0), None, "shown", True),
    )
    svg, _ = draw_front(Trade("", marks, "change", "score", 2.0, (True, True)))
    plot = svg.split('class="explained"')[0]
    numbers = [103 + 7.3 * len(number) for number in re.findall(r'class="tick halo" [^>]*>([^<]+)<', plot)]
    spans = [float(start) for start in re.findall(r'class="span" d="M([\d.]+) ', plot)]
    assert len(numbers) >= 3
    assert min(spans) > max(numbers)


def test_numbers_are_signed_and_identifiers_are_words() -> None:
    assert [number(value, 1) for value in (1.26, -0.04, -3.0)] == ["+1.3", "0.0", "−3.0"]
    assert in_plain("instruction_following") == "instruction following"


@pytest.mark.parametrize(
    ("ends", "lines", "digits"),
    [
        ((-3.4, 0.0), (0.0,), 1),  # an end that is 0
        ((-3.4, -0.04), (0.0,), 2),
        ((-3.4, -0.0004), (0.0,), 4),
        ((-3.4, -0.06), (0.0,), 1),  # -0.1 is on its own side of 0
        ((-1.97, 0.3), (0.0, -2.0), 2),  # -2.0 would be on the margin
        ((-1.97, 0.3), (0.0,), 1),
        ((-2.0, 0.3), (0.0, -2.0), 1),
        ((-2.3, 0.3), (0.0, -2.25), 1),
        ((-2.24, 0.3), (0.0, -2.25), 1),  # -2.2 is above -2.25, as -2.24 is
    ],
)
def test_an_end_is_never_rounded_onto_a_line_that_decides(
    ends: tuple[float, float], lines: tuple[float, ...], digits: int
) -> None:
    assert deciding_digits(ends, lines, 1) == digits


def test_a_value_has_the_decimals_of_its_interval_in_sentences_and_tables(tmp_path: Path) -> None:
    """-0.04 points decide that knowledge is lost: one decimal would show them as 0.0."""
    folder = Fake(items=60).write(tmp_path)
    model = collect(folder)
    knowledge = next(result for result in model.blocks[0].of_role("knowledge") if result.comparisons)
    lost: Ends = (-0.034, -0.017, -0.0004)
    assert shown_ends(lost, knowledge, model.matrix) == ("−1.70", "−3.40", "−0.04", "points")
    estimate = Estimate(lost[1], lost[0], lost[2])
    shown = change(estimate, True), change_interval(estimate, True, lines_of(knowledge, model.matrix))
    assert shown == ("−1.70", "[−3.40, −0.04]")


def test_a_number_that_is_not_a_share_has_more_digits_where_the_margin_needs_them() -> None:
    """0.019996 is below a margin of 0.02, and with three significant digits would be 0.02."""
    estimate = Estimate(0.01, -0.001, 0.019996)
    assert change_interval(estimate, False, (0.0, 0.02)) == "[−0.001, +0.019996]"
    assert change_interval(estimate, False) == "[−0.001, +0.02]"


def test_a_long_name_or_interval_is_squeezed_into_its_room_and_a_short_one_is_not() -> None:
    """Left of the plot are 91 px, so that 15 letters of 7.3 px are squeezed and 12 are not."""
    marks = tuple(
        Mark(name, -0.5, 0.1 + 0.2 * at, None, None, "idle", loud=True)
        for at, name in enumerate(("constant_prompt", "twelve_names"))
    )
    label = "change in perplexity (bits per byte), bits; better to the right"
    base = Mark("base", 0.0, 0.0, None, None, "base", loud=False)
    drawing, _ = draw_front(Trade("x", (*marks, base), label, "ifeval", 0.0, (True, True)))
    assert 'textLength="89" lengthAdjust="spacingAndGlyphs">constant_prompt<' in drawing
    assert drawing.count("textLength") == 1
    assert f">{label} →<" in drawing
    row = ForestRow("lora", (-0.1, 0.0, 0.1), "undecided", "+0.00765 (−0.0679 to +0.0832)")
    assert "textLength" in draw_forest([row], "x", "bits", None)
    assert "textLength" not in draw_forest([replace(row, said="+0.1 (−0.1 to +0.3)")], "x", "bits", None)
