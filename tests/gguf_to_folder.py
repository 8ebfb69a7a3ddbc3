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
loaded = AutoModelForCausalLM.from_pretrained(**origin, dtype=torch.float32)
# transformers saves no model that it calls quantized, though its weights are plain by now.
config = type(loaded.config).from_dict(loaded.config.to_dict() | {"quantization_config": None})
model = type(loaded)(config)
model.load_state_dict(loaded.state_dict(), strict=True)
model.save_pretrained(folder)
AutoTokenizer.from_pretrained(**origin).save_pretrained(folder)
