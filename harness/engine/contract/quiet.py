"""Keeping the libraries' own bars and advice out of the contract's lines."""

from __future__ import annotations

import logging
import os
import warnings


def quiet() -> None:
    """For the rest of this process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(transformers|trl|peft|torch)")
