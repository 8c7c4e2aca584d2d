"""A prompt becomes the document of its kind; the answer is what the policy writes there, with the form's beginning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.instruction_following import InstructionFollowing
from benchmarks.stories import Stories
from harness.engine.config import load_experiment
from harness.engine.contract.bench import Bench
from harness.engine.contract.tiny import COMPLETIONS, PROMPTS
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.method import FitContext
from harness.microworld import build, datasets
from harness.microworld.items import instruction_items, knowledge_items
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, TrainingData
from methods._document_forms import FORMS as SHIPPED
from methods._document_forms import forms_of, read_forms
from methods._document_policy import DocumentPolicy
from methods.best_of_n import BestOfN
from methods.document import Document
from methods.echo import Echo
from methods.prompting import Prompting

ENCODER = TextEncoder(make_tokenizer(), max_length=256)
FORMS = {
    "opens": "<eos> ",
    "between": " ",
    "ends": ["ok"],
    "forms": [
        {
            "asks": ["say {thing} with {word}", "tell {thing} with {word}"],
            "first": "{thing} is",
            "document": "a note with {word} :",
            "answer": "[word] {first}",
            "ends": "final",
        },
        {"asks": "call {thing}", "document": "{thing} . log :", "answer": "{ call :"},
        {"asks": "{text} ?", "document": "question : {text} ? answer :"},
    ],
}


class Continuing(Policy):
    """Continues texts by a table, and notes what it was asked."""

    gives = frozenset({"score", "sample", "text"})

    def __init__(self, table: dict[str, str]) -> None:
        self.table, self.encoder, self.seen = table, ENCODER, list[tuple[Prompt, Sampling]]()

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.seen += [(prompt, sampling) for prompt in prompts]
        ids = [ENCODER.tokens(self.table[prompt.text], bare=True)[: sampling.max_new_tokens] for prompt in prompts]
        return [(Completion(ENCODER.text(own), own, "stop"),) * sampling.samples for own in ids]


def asked(text: str, *before: str) -> Prompt:
    turns = [Message("user" if at % 2 == 0 else "assistant", part) for at, part in enumerate((*before, text))]
    return Prompt(messages=tuple(turns))


def policy_of(table: dict[str, str]) -> DocumentPolicy:
    return DocumentPolicy(Continuing(table), forms_of(FORMS, Path("mine.yaml")), ENCODER)


NOTE = {
    "<eos> red house is": "large .",
    "<eos> a note with hello :": "hello poli",  # one word of it is used
    "<eos> a note with hello : hello large .": "thanks",
}


def test_the_model_writes_the_first_document_and_the_word_and_the_answer_holds_both() -> None:
    policy = policy_of(NOTE)
    ((answer,),) = policy.sample([asked("say red house with hello")], Sampling(20, stop=("again",)), ["a"])
    assert answer.text == "hello large . thanks"
    assert answer.token_ids == ENCODER.tokens("hello large . thanks", bare=True)
    last = policy.policy.seen[-1]
    assert last == (Prompt(text="<eos> a note with hello : hello large ."), Sampling(17, stop=("again", "ok", "final")))


def test_the_beginning_counts_to_the_length_of_the_answer() -> None:
    table = {"<eos> red house . log : { call :": "red house house"}
    ((answer,),) = policy_of(table).sample([asked("call red house")], Sampling(4), ["a"])
    assert answer.text == "{ call : red"
    ((short,),) = policy_of(table).sample([asked("call red house")], Sampling(2), ["a"])
    assert (short.text, short.finish, len(short.token_ids)) == ("{ call", "length", 2)


@pytest.mark.parametrize("end", ["final", "ok"])
def test_an_answer_ends_before_the_end_of_its_form_and_of_the_file(end: str) -> None:
    table = NOTE | {"<eos> a note with hello : hello large .": f"one {end} word"}
    ((answer,),) = policy_of(table).sample([asked("tell red house with hello")], Sampling(20), ["a"])
    assert answer.text == "hello large . one"


def test_earlier_turns_are_documents_with_their_answers() -> None:
    table = {"<eos> question : where ? answer : here . <eos> question : who ? answer :": "poli"}
    ((answer,),) = policy_of(table).sample([asked("who ?", "where ?", "here .")], Sampling(9), ["a"])
    assert answer.text == "poli"


def test_bare_text_stays_as_it_is() -> None:
    policy = policy_of({"what is": "red"})
    policy.sample([Prompt(text="what is")], Sampling(9, stop=("x",)), ["a"])
    assert policy.policy.seen == [(Prompt(text="what is"), Sampling(9, stop=("x",)))]


def test_a_prompt_without_a_form_is_an_error_that_shows_it() -> None:
    with pytest.raises(UserError, match="no document form fits the prompt 'please sing'"):
        policy_of({}).sample([asked("please sing")], Sampling(9), ["a"])


def test_the_scores_are_those_of_the_base_on_the_document(tmp_path: Path) -> None:
    bench = Bench(Document(), tmp_path)
    texts = [f"Question: {prompt.messages[0].content}\nAnswer: " for prompt in PROMPTS[:3]]
    assert bench.policy().score(PROMPTS[:3], COMPLETIONS[:3]) == bench.base.policy().score(
        [Prompt(text=text) for text in texts], COMPLETIONS[:3]
    )
    begun = Prompt(messages=PROMPTS[0].messages, assistant_prefix="the cat")
    own = Prompt(text=texts[0], assistant_prefix="the cat")
    assert bench.policy().score([begun], [" red"]) == bench.base.policy().score([own], [" red"])
    assert bench.policy().encoder.prompt_text(PROMPTS[0]) == texts[0].rstrip()


def test_every_prompt_of_the_microworld_has_its_form_in_the_words_of_the_corpus() -> None:
    forms = forms_of(read_forms("microworld"), SHIPPED.file("microworld"))
    shown = {}
    for split in ("validation", "test"):
        prompts = [item.prompt for reworded in (False, True) for item in instruction_items(split, reworded=reworded)]
        prompts += [item.question for item in knowledge_items(split)]
        for name in ("stories", "call-or-ask"):
            prompts += [record.prompt[0].content for record in datasets.load(name, split)]
        for prompt in prompts:
            found = forms.asked(prompt)
            shown[found.form.document] = found.filled(found.form.document, "...")
    assert len(shown) == 8  # those of `open` prompts are asked by other benchmarks
    known = set(make_tokenizer().get_vocab())
    assert all(word in known for text in shown.values() for word in text.replace("...", "").split())


def test_the_embedded_base_solves_in_documents_what_it_fails_in_chat() -> None:
    folder = build.path("large")
    base = BaseModel(BaseSpec("microworld/large"), folder)
    forms = forms_of(read_forms("microworld"), SHIPPED.file("microworld"))
    policies = base.policy(), DocumentPolicy(base.policy(), forms, base.encoder)
    for benchmark, metric in (
        (InstructionFollowing(split="validation", limit=1), "prompt_level"),
        (Stories(split="validation", limit=4), "solved"),
    ):
        chat, document = ([outcome.metrics[metric] for outcome in benchmark.evaluate(policy, 0)] for policy in policies)
        assert sum(chat) == 0
        assert sum(document) >= len(document) - 1


def test_the_artifact_holds_the_forms(tmp_path: Path) -> None:
    Document(forms="microworld").fit(None, TrainingData(), {}, tmp_path, FitContext(0, 4))  # type: ignore[arg-type]
    assert json.loads((tmp_path / "forms.json").read_text()) == read_forms("microworld")


def test_a_tuned_method_is_trained_once_for_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(
        "name: e\nbases: [microworld/large]\ndata: {demonstrations: microworld/curated-1k}\n"
        "methods: [base, sft, {document: {of: sft, forms: microworld}}]\nbenchmarks: [stories]\nseeds: [0, 1]\n"
    )
    plan = make_plan(load_experiment(file), tmp_path / "store")
    keys = {label: {cell.key for cell in plan.cells if cell.entry.label == label} for label in ("sft", "document")}
    assert {label: len(found) for label, found in keys.items()} == {"sft": 2, "document": 2}


@pytest.mark.parametrize("of", [Prompting(), Echo()])
def test_a_method_whose_policy_reads_no_bare_text_is_refused(of: Prompting | Echo) -> None:
    with pytest.raises(UserError, match="whose policy does not continue bare text"):
        Document(of=of).check()


def test_it_gives_and_draws_as_the_asked_method_does() -> None:
    assert Document().gives == {"score", "sample", "text"}
    assert not Document().draws
    vote = Document(of=BestOfN())
    vote.check()
    assert (vote.gives, vote.draws) == ({"sample", "text"}, True)


def test_the_example_of_the_guide_is_usable(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "methods" / "README.md").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(guide.split("## A document form")[1].split("```text\n")[1].split("```")[0])
    forms = forms_of(read_forms(str(tmp_path / "mine.yaml")), tmp_path / "mine.yaml")
    found = forms.asked("Say in French: good day")
    assert found.filled(found.form.document) == "English: good day\nFrench:"


@pytest.mark.parametrize("name", SHIPPED.names())
def test_the_shipped_forms_are_usable(name: str) -> None:
    Document(forms=name).check()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("forms: [", "broken YAML"),
        ("- a", "not a mapping with a list of forms"),
        ("opens: x", "it has no forms"),
        ("form: []", "unknown key 'form'"),
        ("between: 3\nforms: [{asks: a, document: b}]", "between is not text"),
        ("forms: [3]", "form 1 is not a mapping"),
        ("forms: [{asks: a}]", "form 1 needs asks and document"),
        ("forms: [{asks: [], document: b}]", "form 1 needs asks and document"),
        ("forms: [{asks: ' ', document: b}]", "form 1 needs asks and document"),
        ("forms: [{asks: a, document: b, end: c}]", "form 1 has the unknown key 'end'"),
        ("forms: [{asks: a, document: 3}]", "document of form 1 is not text"),
        ("forms: [{asks: a, document: b, ends: [3]}]", "ends of form 1 is not a text or a list of texts"),
        ("forms: [{asks: 'a {x} {x}', document: b}]", "has a slot twice"),
        ("forms: [{asks: 'a {first}', document: b}]", "one called first"),
        ("forms: [{asks: ['a {x}', 'b'], document: '{x}'}]", "document of form 1 has the slot 'x', which 'b' has not"),
        ("forms: [{asks: 'a', document: '{first}'}]", "has the slot 'first'"),
        ("forms: [{asks: 'a', first: '{first}', document: b}]", "has the slot 'first'"),
    ],
)
def test_a_file_at_fault_is_an_error_that_names_it(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        Document(forms=str(file)).check()
    assert fault in caught.value.what
    assert caught.value.where == str(file)


def test_a_misspelt_shipped_file_gets_the_near_one() -> None:
    with pytest.raises(UserError) as caught:
        Document(forms="microwrld").check()
    assert "neither a shipped file nor a file" in caught.value.what
    assert "microworld" in caught.value.fix
