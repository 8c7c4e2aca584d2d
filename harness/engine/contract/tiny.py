"""A random Llama of a few thousand weights whose tokens are words, and a little data of every kind."""

from __future__ import annotations

from pathlib import Path

from harness.policy.types import Prompt
from harness.records import Demonstration, JudgedAnswer, Message, PreferencePair, Problem, TrainingData

VOCABULARY = "<eos> <u> <a> <unk> what says the cat dog bird red green blue one two three"
WORDS = VOCABULARY.split()
TEMPLATE = (
    "{% for m in messages %}{{ '<a> ' + m['content'] + '<eos> ' if m['role'] == 'assistant' else '<u> ' + "
    "m['content'] + ' ' }}{% endfor %}{% if add_generation_prompt %}{{ '<a> ' }}{% endif %}"
)
ANSWERS = [(a, c, n) for a in ("cat", "dog", "bird") for c in ("red", "green", "blue") for n in ("one", "two")]


def animal_question(animal: str) -> tuple[Message, ...]:
    """A question as the user's turn."""
    return (Message("user", f"what says the {animal}"),)


def demonstration(answer: str, name: str) -> Demonstration:
    """An answer to the question about the animal that the answer names first."""
    return Demonstration((*animal_question(answer.split()[0]), Message("assistant", answer)), name)


DATA = TrainingData(
    demonstrations=(
        *(demonstration(f"{a} says {c} {n}", f"{a}-{c}-{n}") for a, c, n in ANSWERS),
        # some come with another version, as `bakeoff data refine` names it
        *(demonstration(f"{a} says the {c} {n}", f"{a}-{c}-{n}/response") for a, c, n in ANSWERS[:6]),
    ),
    preferences=tuple(
        PreferencePair(animal_question(a), f"{a} says {c} {n}", f"{c} {n}", f"{a}-{c}-{n}") for a, c, n in ANSWERS
    ),
    judged=tuple(
        JudgedAnswer((*animal_question(a), Message("assistant", answer)), f"{a}-{c}-{n}/{good}", good=good)
        for a, c, n in ANSWERS
        for answer, good in ((f"{a} says {c} {n}", True), (f"{c} {n}", False))
    ),
    problems=tuple(Problem(animal_question(a), n, "last_word", f"{a}-{c}-{n}") for a, c, n in ANSWERS),
)
PROMPTS = [Prompt(messages=animal_question(a)) for a in ("cat", "dog", "bird")] + [
    Prompt(text="what says the cat says")
]
COMPLETIONS = ["cat says red one", "dog says", "bird says green two three", "blue"]
KEYS = ["a", "b", "c", "d"]


def write_model(folder: Path, hidden: int, seed: int) -> Path:
    """Write a random model of two layers, `hidden` wide, with its tokenizer; equal seeds give equal bytes."""
    import torch
    import transformers

    torch.manual_seed(seed)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": hidden}
    # with the default range of 0.02, a frozen output layer would be too small for an adapter to have an effect
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=64, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"eos_token": "<eos>", "unk_token": "<unk>", "additional_special_tokens": ["<u>", "<a>"]}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE, **special)
    fast.save_pretrained(folder)
