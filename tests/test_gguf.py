"""A base model in a GGUF file: read by `transformers`, dequantised, and said to be."""

from __future__ import annotations

import json
import shutil
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
import transformers

from harness.engine.plan import base_document
from harness.errors import UserError
from harness.method import FitContext
from harness.policy import gguf_file
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.gguf_file import stored_types
from harness.policy.gguf_header import read_header
from harness.policy.model_checks import check_model
from harness.policy.sources import locate, model_digest, parameter_count
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from methods.sft import Sft
from tests.command_line import bakeoff

gguf = pytest.importorskip("gguf")

HIDDEN, HEADS, KEY_HEADS, WIDE, LAYERS = 64, 4, 2, 96, 2
TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ':' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}"
)
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def byte_names() -> list[str]:
    """GPT-2's printable name of each of the 256 bytes: itself where it is printable, else one from 256 on."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    rest = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


TOKENS = [*byte_names(), "<s>", "</s>", "ab"]


def stored_name(name: str) -> str:
    """llama.cpp's name of one of the weights of a Llama."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in whole:
        return f"{whole[stem]}.weight"
    layer, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """llama.cpp rotates neighbouring rows, and `transformers` the halves of a head."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def llama() -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=HIDDEN, intermediate_size=WIDE, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, max_position_embeddings=128,
        tie_word_embeddings=False, rms_norm_eps=1e-5,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def write(llama: transformers.LlamaForCausalLM, path: Path, kind: str) -> Path:
    """The model as llama.cpp would write it, its matrices in the given type of storage."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * 256 + [3, 3, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in llama.state_dict().items():
        weight = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            weight = interleaved(weight, HEADS if "q_proj" in name else KEY_HEADS)
        stored = gguf.GGMLQuantizationType[kind if weight.ndim == 2 else "F32"]
        writer.add_tensor(stored_name(name), gguf.quants.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(llama: transformers.LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(llama, tmp_path_factory.mktemp("gguf") / "toy-Q8_0.gguf", "Q8_0")


def base_of(path: Path, **fields: str) -> BaseModel:
    spec = BaseSpec(str(path), **fields)  # type: ignore[arg-type]
    folder = locate(spec)
    return BaseModel(spec, folder, model_digest(folder, path.parent / "digests"))


def test_weights_in_float32_are_those_that_were_written(llama: transformers.LlamaForCausalLM, tmp_path: Path) -> None:
    loaded = base_of(write(llama, tmp_path / "toy.gguf", "F32")).load().state_dict()
    assert loaded.keys() == llama.state_dict().keys()
    for name, weight in llama.state_dict().items():
        assert torch.equal(loaded[name], weight), name


def test_quantised_weights_are_dequantised_and_remain_so_in_what_is_saved(
    llama: transformers.LlamaForCausalLM, file: Path, tmp_path: Path
) -> None:
    """Q8_0 holds 32 weights as whole numbers up to 127 times one scale: off by half a step, 1/254 of the largest.

    The scale is in half precision, which is off by 2**-11 at most.
    """
    model = base_of(file).load()
    for name, weight in llama.state_dict().items():
        found = model.state_dict()[name]
        assert found.dtype == torch.float32
        assert (found - weight).abs().max() <= weight.abs().max() * (1 / 254 + 2**-11), name
    assert not torch.equal(model.lm_head.weight, llama.lm_head.weight)
    model.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    again = BaseModel(BaseSpec(str(file)), tmp_path).load().state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in model.state_dict().items())


def test_a_gguf_base_is_checked_scored_and_trained_like_another(file: Path, tmp_path: Path) -> None:
    base = base_of(file)
    found = {check.name: check for check in check_model(base)}
    assert all(check.passed for check in found.values()), found
    assert found["weights"].found == "a GGUF file (F32, Q8_0)"
    assert found["weights"].remedy.startswith("they are dequantised to float32")
    prompt = Prompt(messages=(Message("user", "Name a fruit."),))
    assert base.encoder.render(prompt.messages) == "<s>user:Name a fruit.</s><s>assistant:"
    (score,) = base.policy().score([prompt], ["An apple."])
    assert score.logprob < 0
    rows = tuple(
        Demonstration((Message("user", f"say {at}"), Message("assistant", "yes")), f"r{at}") for at in range(4)
    )
    method = Sft(epochs=1, batch_size=2, learning_rate=1e-2)
    method.fit(base, TrainingData(demonstrations=rows), {}, tmp_path, FitContext(seed=0, micro_batch=2))
    (tuned,) = method.load(base, tmp_path, {}).score([prompt], ["An apple."])
    assert tuned.logprob != score.logprob


def test_its_parameters_and_its_key_are_those_of_the_file(
    llama: transformers.LlamaForCausalLM, file: Path, tmp_path: Path
) -> None:
    assert parameter_count(locate(BaseSpec(str(file)))) == sum(weight.numel() for weight in llama.parameters())
    document = base_document(base_of(file))
    assert document["gguf"] == gguf_file.gguf_version()
    assert document["name"] == "toy-Q8_0.gguf"
    copied = Path(shutil.copy(file, tmp_path / "toy-Q8_0.gguf"))
    assert base_document(base_of(copied)) == document
    (tmp_path / "notes.txt").write_text("Not read.")
    assert base_document(base_of(copied)) == document
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    assert base_document(base_of(copied))["digest"] != document["digest"]


def test_a_plan_and_the_check_of_a_model_say_that_it_is_dequantised(file: Path, tmp_path: Path) -> None:
    said = "a GGUF file (F32, Q8_0)"
    experiment = tmp_path / "e.yaml"
    experiment.write_text(f"bases: [{file}]\nmethods: [base]\nbenchmarks: [knowledge]\nseeds: [0]\n")
    plan = bakeoff("plan", experiment, "--store", tmp_path / "store")
    assert plan.returncode == 0, plan.stderr
    assert said in plan.stdout
    assert "dequantised to float32" in plan.stdout
    assert said in bakeoff("check-model", file).stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.write_bytes(b"junk"), "it is not a GGUF file"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "the GGUF file is damaged: it names 21 tensors"),
        (lambda file: file.write_bytes(file.read_bytes()[:-64]), "the GGUF file is damaged: it ends too early"),
        (lambda file: file.rename(file.with_name("toy-00001-of-00003.gguf")), "it is one of 3 parts"),
        (lambda file: file.rename(file.with_name("elsewhere")), "no such file"),
    ],
)
def test_a_gguf_file_that_cannot_be_used_is_refused_in_one_message(
    change: object, said: str, file: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copy(file, tmp_path / "toy.gguf"))
    change(copied)  # type: ignore[operator]
    name = next(tmp_path.glob("toy*"), copied)
    experiment = tmp_path / "e.yaml"
    experiment.write_text(f"bases: [{name}]\nmethods: [base]\nbenchmarks: [knowledge]\nseeds: [0]\n")
    done = bakeoff("plan", experiment, "--store", tmp_path / "store")
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_header_is_read_as_the_package_reads_it(file: Path) -> None:
    values, tensors = read_header(file)
    theirs = gguf.GGUFReader(file)
    assert [(one.name, one.kind, one.shape, one.start) for one in tensors] == [
        (one.name, one.tensor_type, tuple(one.shape), one.data_offset) for one in theirs.tensors
    ]
    inner = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert values.keys() == inner.keys()
    for key, field in inner.items():
        content = field.contents()
        assert values[key] == (len(content) if isinstance(content, list) else content), key


def test_a_header_that_is_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    content, cut = file.read_bytes(), tmp_path / "cut.gguf"
    end = content.index(b"output_norm.weight")
    for length in [*range(1, end, 37), end, end + 20]:
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match="the GGUF file is damaged: "):
            read_header(cut)


def text_of(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def header(values: bytes = b"", *, count: int = 1, tensors: int = 0, version: int = 3, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + values + rest


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    """A value with the key `a`."""
    return text_of("a") + struct.pack("<IIQ", 9, kind, count) + content


HUGE = 2**64 - 1
NESTED = struct.pack("<IQ", 9, 1) * 40
HOSTILE = {
    "nothing": (b"", "cannot mmap an empty file"),
    "another version": (header(version=1), "its version is 1, not 2 or 3"),
    "big-endian": (header(version=3 << 24), "it is of the big-endian kind"),
    "too many values": (header(count=HUGE), "it names 18,446,744,073,709,551,615 values, more than it has room for"),
    "too many tensors": (header(tensors=HUGE), "tensors, more than it has room for"),
    "a long key": (header(struct.pack("<Q", HUGE) + bytes(20)), "bytes of a text, more than it has room for"),
    "a type of value": (header(text_of("a") + struct.pack("<IQ", 13, 0)), "it has a value of the unknown type 13"),
    "a type in an array": (header(array(99, 1, bytes(99))), "it has a value of the unknown type 99"),
    "a long array": (header(array(4, HUGE)), "values of an array, more than it has room for"),
    "a long array of texts": (header(array(8, 2**60)), "values of an array, more than it has room for"),
    "a long text in an array": (header(array(8, 2, struct.pack("<QQ", HUGE, 0))), "it ends too early"),
    "arrays in arrays": (header(array(9, 1, NESTED)), "it has arrays in arrays, deeper than 2"),
    "many empty arrays": (header(array(9, 6_000_000, bytes(72_000_000))), "it has more than 5,000,000 values"),
    "a key twice": (header((text_of("a") + struct.pack("<IQ", 10, 1)) * 2, count=2), "it has the key 'a' twice"),
    "an alignment of none": (header(text_of("general.alignment") + struct.pack("<II", 4, 0)), "its alignment is 0"),
    "dimensions": (header(count=0, tensors=1, rest=text_of("t") + struct.pack("<I", 9) + bytes(90)), "9 dimensions"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_at_once(name: str, tmp_path: Path) -> None:
    content, said = HOSTILE[name]
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    before = time.process_time()
    with pytest.raises(UserError) as refused:
        read_header(file)
    assert time.process_time() - before < 2
    assert said in refused.value.what


@pytest.mark.parametrize(("kind", "size"), [(99, 4), (0, 2**62), (12, 256)])
def test_a_tensor_of_an_unknown_type_or_beyond_the_end_is_refused(kind: int, size: int, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    tensor = text_of("t") + struct.pack("<IQIQ", 1, size, kind, 0)
    file.write_bytes(header(count=0, tensors=1, rest=tensor) + bytes(100))
    with pytest.raises(UserError, match="the unknown type 99" if kind == 99 else "it ends too early"):
        stored_types(file)


def test_the_header_of_a_large_vocabulary_takes_no_time(tmp_path: Path) -> None:
    """The reader of the package gguf takes 25 s of CPU for it."""
    file, words = tmp_path / "x.gguf", b"".join(text_of(f"word {at}") for at in range(262_144))
    file.write_bytes(header(array(8, 262_144, words) + text_of("b") + struct.pack("<IIQ", 9, 6, 2) + bytes(8), count=2))
    before = time.process_time()
    assert read_header(file) == ({"a": 262_144, "b": 2}, [])
    assert time.process_time() - before < 1


def test_without_the_package_the_remedy_is_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    with pytest.raises(UserError, match=r"need the package gguf\n  pip install 'bakeoff\[gguf\]'"):
        locate(BaseSpec(str(file)))


def test_a_folder_of_gguf_files_names_one_of_them(file: Path) -> None:
    with pytest.raises(UserError, match=f"Name one of them: {file}"):
        locate(BaseSpec(str(file.parent)))
