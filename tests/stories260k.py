"""Converts the real checkpoint stories260K (llama2.c, version 0) to a Hugging Face folder.

python tests/stories260k.py ../shared/data/stories260k OUT
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, processors

UNKNOWN, START, END = SPECIAL = ("<unk>", "<s>", "</s>")


def convert(source: Path, target: Path) -> Path:
    """Write config.json, model.safetensors (float32) and tokenizer files into `target`, and return it."""
    model, config = read_model(source / "stories260K.bin")
    model.save_pretrained(target)
    tokenizer(read_tokens(source / "tok512.bin"), config.max_position_embeddings).save_pretrained(target)
    return target


def read_model(path: Path) -> tuple[Any, Any]:
    """Seven int32, then float32 tensors, each over all layers before the next."""
    header = struct.unpack("<7i", path.read_bytes()[:28])
    width, inner, layers, heads, shared, vocabulary, context = header
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        vocab_size=vocabulary,
        max_position_embeddings=context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    rest = torch.from_numpy(np.frombuffer(path.read_bytes(), dtype="<f4", offset=28).copy())
    at = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return rest[at - size : at].reshape(shape)

    keys = width * shared // heads
    weights = {"model.embed_tokens.weight": take(vocabulary, width)}
    per_layer = {
        "input_layernorm": take(layers, width),
        "self_attn.q_proj": halved(take(layers, width, width), heads),
        "self_attn.k_proj": halved(take(layers, keys, width), shared),
        "self_attn.v_proj": take(layers, keys, width),
        "self_attn.o_proj": take(layers, width, width),
        "post_attention_layernorm": take(layers, width),
        "mlp.gate_proj": take(layers, inner, width),
        "mlp.down_proj": take(layers, width, inner),
        "mlp.up_proj": take(layers, inner, width),
    }
    for name, stacked in per_layer.items():
        weights |= {f"model.layers.{layer}.{name}.weight": stacked[layer].clone() for layer in range(layers)}
    weights["model.norm.weight"] = take(width)
    model = transformers.LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    return model.eval(), config


def halved(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (layers, heads x d, width) whose rotary pairs are (2i, 2i + 1), as (i, i + d/2)."""
    layers, rows, width = weights.shape
    return weights.reshape(layers, heads, rows // heads // 2, 2, width).transpose(2, 3).reshape(layers, rows, width)


def read_tokens(path: Path) -> list[tuple[bytes, float]]:
    """(text, score) of every token in the order of its id."""
    data, at, found = path.read_bytes(), 4, []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        found.append((data[at + 8 : at + 8 + length], score))
        at += 8 + length
    return found


def tokenizer(tokens: list[tuple[bytes, float]], context: int) -> Any:
    """Greedy merging by score as BPE: every pair that makes a token, best score first; the rest falls to bytes."""
    names = [*SPECIAL, *(text.decode().replace(" ", "▁") for text, _ in tokens[3:])]
    ids = {name: index for index, name in enumerate(names)}
    ordinary = sorted(names[259:], key=lambda name: -tokens[ids[name]][1])
    merges = [
        (name[:cut], name[cut:])
        for name in ordinary
        for cut in range(1, len(name))
        if name[:cut] in ids and name[cut:] in ids
    ]
    core = Tokenizer(models.BPE(ids, merges, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


if __name__ == "__main__":
    print(convert(Path(sys.argv[1]), Path(sys.argv[2])))
