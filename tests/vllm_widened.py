"""A tiny checkpoint made wider without changing what it computes.

vLLM's attention on a CPU wants heads of 32 numbers or more; those of the reference's checkpoints
have 8 and 16. Everything is widened four times with zeros, and all that corrects for it is a
factor of two here and there, so not a bit of a result changes but by the order of sums:

- the mean square of a widened row is a quarter, so the norms' epsilon is quartered and their
  weights are halved;
- number i of half a head goes to place 4i, where the wider head turns at the same speed, and the
  queries are doubled for the scale 1/sqrt(width).
"""

import json

import torch
from safetensors.torch import load_file, save_file

from engines.vllm.families import Sizes

TIMES = 4


def widen(source, target):
    """Write the snapshot in `source` into `target`, its language model widened."""
    target.mkdir()
    config = json.loads((source / "config.json").read_text())
    tensors = load_file(source / "model.safetensors")
    head = config["hidden_size"] // config["num_attention_heads"]
    sizes = Sizes.read(config, source / "config.json")
    for name, _ in sizes.tensors():
        tensors[name] = _widened(name.split(".")[-2], tensors[name], head)
    config["hidden_size"] *= TIMES
    config["rms_norm_eps"] /= TIMES
    (target / "config.json").write_text(json.dumps(config))
    (target / "generation_config.json").write_bytes(
        (source / "generation_config.json").read_bytes()
    )
    save_file(tensors, target / "model.safetensors")
    return target


def padded(rows):
    """Rows [..., H] of the hidden width, widened."""
    zeros = rows.new_zeros(*rows.shape[:-1], (TIMES - 1) * rows.shape[-1])
    return torch.cat((rows, zeros), dim=-1)


def _widened(module, tensor, head):
    if module in ("q_proj", "k_proj", "v_proj"):
        if tensor.dim() > 1:
            tensor = padded(tensor)
        tensor = _spread(tensor, head)
        return tensor * 2 if module == "q_proj" else tensor
    if module == "o_proj":
        return padded(_spread(tensor.T, head)).T.contiguous()
    if module == "down_proj":
        return padded(tensor.T).T.contiguous()
    if tensor.dim() == 1:  # a norm
        return padded(tensor / 2)
    return padded(tensor)


def _spread(tensor, head):
    """Rows of heads [n * head, ...], each number moved to where a wider head has its speed."""
    rows = tensor.view(-1, head, *tensor.shape[1:])
    wide = rows.new_zeros(rows.shape[0], TIMES * head, *tensor.shape[1:])
    wide[:, ::TIMES] = rows
    return wide.view(-1, *tensor.shape[1:])
