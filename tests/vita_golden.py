"""The reference data of VITA-Audio's language model, and small checkpoints to test with."""

import torch
from codec_golden import folders

from engines.vita_audio.checkpoint import load_language_model

#: A checkpoint of the reference data: three main layers, ten heads, fp32.
(LM, *_) = [folder for folder in folders("mtp_lm") if folder.path.name == "mtp_lm"]


def lm_folders():
    """Every folder of reference data for models that hear codes."""
    return [f for f in folders("mtp_lm") if not f.path.name.startswith("mtp_lm_sensevoice")]


def plus_folders():
    """Every folder of reference data for models that hear embeddings."""
    return [f for f in folders("mtp_lm") if f.path.name.startswith("mtp_lm_sensevoice")]


def load(folder, **options):
    """The language model of a folder of reference data."""
    return load_language_model(folder.checkpoint, dtype=torch.float32, **options)


def runs(folder):
    """The recorded runs: prompt, mode's list, and the prefix of their arrays."""
    modes = folder.meta["modes"]
    for name in folder.meta["runs"]:
        prompt, mode = name.split("/")
        yield prompt, tuple(modes[mode]), name


def prompt_folders():
    """Cases of prompts; other engines have some under the same name."""
    return [f for f in folders("prompts") if (f.path / "tokenizer_glm4voice").is_dir()]
