"""A base model: its name, files and tokenizer; loaded with an explicit dtype, and never changed by a method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError, first_line
from harness.lazy import torch, transformers
from harness.policy.chat_template import DEFAULT_DATE
from harness.policy.encoding import TextEncoder
from harness.policy.gguf_file import FAULTS, dequantising, found_at, is_gguf, without_invented_tokens
from harness.policy.shared_state import config_state, encoder_state, policy_state, tokenizer_state
from harness.policy.weight_files import require_fitting

if TYPE_CHECKING:
    from harness.policy.causal import CausalPolicy


Dtype = Literal["float32", "bfloat16", "float16"]
Backing = Literal["", "vllm"]
Attention = Literal["", "eager", "sdpa", "flash_attention_2"]
Quantized = Literal["nf4"]


@dataclass(frozen=True)
class BaseSpec:
    """A base model as an experiment names it.

    name           microworld/SIZE, a folder, a GGUF file, or a Hugging Face id
    revision       a hub commit, tag or branch; empty for the default
    dtype, device  always explicit; never taken from the checkpoint
    chat_template  a Jinja file to use instead of the tokenizer's own template
    template_arguments  further variables of the template, such as {enable_thinking: false}
    date           YYYY-MM-DD, today's date for a template that asks for it
    called         its label, if it differs from the name
    backend        the library that scores and samples policies that are weights alone; empty: this project's own code
    attention      the implementation that `transformers` uses; empty: the library's choice for the model
    """

    name: str
    revision: str = ""
    dtype: Dtype = "float32"
    device: str = "cpu"
    chat_template: str = ""
    template_arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    date: str = DEFAULT_DATE
    trust_remote_code: bool = False
    called: str = ""
    attention: Attention = ""
    backend: Backing = ""

    @property
    def label(self) -> str:
        """The name in tables and keys: for a folder its own name instead of the path on this machine."""
        if self.called:
            return self.called
        is_path = Path(self.name).is_absolute() or self.name.startswith(("~", ".")) or self.name.count("/") > 1
        return Path(self.name).name if is_path else self.name


class BaseModel:
    """A model on disk with its tokenizer.

    folder  the folder with its files, or the GGUF file
    digest  of its weights, tokenizer and template; "" while unknown
    small   the experiment's small base, for methods that need one
    """

    def __init__(self, spec: BaseSpec, folder: Path, digest: str = "", small: BaseModel | None = None) -> None:
        self.spec, self.folder, self.digest, self.small = spec, folder, digest, small
        self._unchanged: dict[str, str] = {}  # the state of each shared object when it was made

    @cached_property
    def config(self) -> Any:
        """The `transformers` configuration."""
        config = self._read(transformers.AutoConfig, "its config.json")
        self._unchanged["config"] = config_state(config)
        return config

    @cached_property
    def tokenizer(self) -> Any:
        """The `transformers` tokenizer."""
        tokenizer = self._read(transformers.AutoTokenizer, "its tokenizer")
        if is_gguf(self.folder):
            tokenizer = without_invented_tokens(tokenizer, self.config.get_text_config().vocab_size)
        self._unchanged["tokenizer"] = tokenizer_state(tokenizer)
        return tokenizer

    @cached_property
    def encoder(self) -> TextEncoder:
        """The tokenizer with this experiment's chat template."""
        template = Path(self.spec.chat_template).read_text("utf-8") if self.spec.chat_template else None
        encoder = TextEncoder(
            self.tokenizer,
            max_length=self.max_length,
            template=template,
            extra_stop_ids=self.generation_ends,
            arguments=self.spec.template_arguments,
            date=self.spec.date,
        )
        self._unchanged["encoder"] = encoder_state(encoder)
        return encoder

    @cached_property
    def max_length(self) -> int:
        """The longest context, in tokens, that the model supports."""
        for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            value = getattr(self.config.get_text_config(), name, None)
            if value:
                return int(value)
        return 2048

    @cached_property
    def generation_ends(self) -> tuple[int, ...]:
        """The end tokens that the model's generation settings name in addition to the tokenizer's."""
        path = self.folder / "generation_config.json"
        ends = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.exists() else None
        if ends is None:
            return ()
        return tuple(ends) if isinstance(ends, list) else (int(ends),)

    def load(self, quantized: Quantized | None = None) -> Any:
        """A fresh copy of the model in its dtype on its device: the caller may change it.

        quantized  nf4: its linear layers but the head in 4 bits, for an adapter on top of them
        """
        model, told = self._read(
            transformers.AutoModelForCausalLM,
            "the model",
            fix="A model is a Hugging Face folder with config.json and safetensors weights, or a GGUF file.",
            dtype=getattr(torch, self.spec.dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **({"attn_implementation": self.spec.attention} if self.spec.attention else {}),
            **dequantising(self.folder),
            **(_in_four_bits(self.spec) if quantized else {}),
        )
        if not is_gguf(self.folder) and not quantized:
            require_fitting(model, told, str(self.folder))
        if is_gguf(self.folder) or any(self.folder.glob("tokenizer*")):  # an artifact keeps its base's
            require_rows(self, model.get_input_embeddings().weight.shape[0])
        return _aligned(model.to(self.spec.device))

    def _read(self, reader: Any, what: str, fix: str = "", **options: Any) -> Any:
        """The object that a class of `transformers` reads from the model's files."""
        folder, place = found_at(self.folder)
        trusted = self.spec.trust_remote_code
        try:
            return reader.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True, **place, **options)
        except Exception as error:
            expected = isinstance(error, (OSError, ValueError, KeyError, ImportError, *(FAULTS if place else ())))
            # a file of JSON that holds something else raises anything; what loads weights may run out of memory
            if not expected and reader is transformers.AutoModelForCausalLM:
                raise
            raise UserError(f"{what} does not load: {first_line(error)}", where=str(self.folder), fix=fix) from error

    @cached_property
    def _policy(self) -> CausalPolicy:
        from harness.policy.causal import CausalPolicy

        model = self.load().requires_grad_(False)
        policy = CausalPolicy(model, self.encoder)
        self._unchanged["_policy"] = policy_state(policy)
        return policy

    def policy(self) -> CausalPolicy:
        """The untouched base, loaded once and shared: it must not be changed."""
        return self._policy

    def make_unchanged(self) -> list[str]:
        """The shared objects that a plugin changed (`tokenizer`, `model`, ...); they are loaded again when needed."""
        states = {
            "config": lambda: config_state(self.config),
            "tokenizer": lambda: tokenizer_state(self.tokenizer),
            "encoder": lambda: encoder_state(self.encoder),
            "_policy": lambda: policy_state(self._policy),
        }
        held = [name for name in states if name in self.__dict__]
        changed = [name for name in held if states[name]() != self._unchanged[name]]
        if changed:
            for name in (*states, "max_length", "generation_ends"):  # the last two were read from what was changed
                self.__dict__.pop(name, None)
        return [name.replace("_policy", "model") for name in changed]

    def release(self) -> None:
        """Free the memory of the shared copy."""
        self.__dict__.pop("_policy", None)


def require_rows(base: BaseModel, rows: int) -> None:
    """Raise UserError where the tokenizer has tokens that the model has no embedding for.

    rows  of the model's embedding
    """
    tokens = max(base.tokenizer.get_vocab().values()) + 1
    if tokens > rows:
        raise UserError(
            f"the tokenizer has {tokens:,} tokens and the model {rows:,} embeddings",
            where=base.spec.label,
            fix="Resize the model's embeddings and save it again, or use the tokenizer that it was trained with.",
        )


def _in_four_bits(spec: BaseSpec) -> dict[str, Any]:
    """NF4 with quantised constants (Dettmers et al. 2023, 2305.14314, section 3), computed in the base's dtype."""
    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, spec.dtype),
    )
    return {"quantization_config": settings, "device_map": {"": spec.device}}


def _aligned(model: Any) -> Any:
    """Copy weights out of the file's memory map: their alignment there, and so the last bit of results, varies."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    return model
