"""A reward model for tests: it reads nothing but a conversation's last word."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["<eos>", "<unk>", "user", "assistant", "bad", "fine", "good", "question"]


def last_word_judge(folder: Path) -> Path:
    """good is 2, fine is 1, bad is -1, before the last normalisation, which keeps their order."""
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.LlamaConfig(vocab_size=len(WORDS), num_labels=1, pad_token_id=0, **shape)
    model = transformers.LlamaForSequenceClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # attention and feed-forward add nothing, so that a token is its embedding
            weight.zero_() if "proj" in name else None
        table = model.get_input_embeddings().weight
        table.copy_(torch.ones_like(table))
        for word, value in (("bad", -1.0), ("fine", 1.0), ("good", 2.0)):
            table[WORDS.index(word), 0] = value
        model.score.weight.zero_()[0, 0] = 1.0
    model.save_pretrained(folder)
    vocabulary = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=vocabulary, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}"
    fast.save_pretrained(folder)
    return folder
