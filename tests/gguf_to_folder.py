"""A GGUF file as the folder that `vllm serve` loads: `python gguf_to_folder.py GGUF FOLDER`.

Runs in the environment of vLLM: transformers dequantizes the weights and rebuilds the tokenizer.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf, folder = map(Path, sys.argv[1:])
if gguf.is_dir():
    (gguf,) = gguf.glob("*.gguf")
origin = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.float32).save_pretrained(folder)
AutoTokenizer.from_pretrained(**origin).save_pretrained(folder)
