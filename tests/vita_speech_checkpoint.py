"""Makes the voice of VITA-1.5 in the published layout: random weights, tiny.

    make(snapshot / "vita_tts_ckpt", hidden=64)

`hidden` is the width of the language model's embeddings, of which each makes four rows. Its
sentences last about a second, and sound like a noise at the level of speech.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from engines.vita.speech.checkpoint import _HARMLESS
from engines.vita.speech.codec import Codec
from engines.vita.speech.config import read_codec_config, read_decoder_config
from engines.vita.speech.decoder import TokenDecoder

#: RMS of what the codec makes of random codes.
LEVEL = 0.1


def make(folder: Path, *, hidden=64, codes=60, eager=1.0, seed=0) -> Path:
    """Write both parts.

    Args:
        folder: Where to; made if need be.
        hidden: Of the language model's embeddings; a multiple of 32.
        codes: How many sounds there are.
        eager: How much more likely than by chance the end is.
        seed: Of the weights.
    """
    make_decoder(folder / "decoder", hidden=hidden, codes=codes, eager=eager, seed=seed)
    make_codec(folder / "codec", codes=codes, seed=seed)
    return folder


def make_decoder(folder: Path, *, hidden, codes, eager=1.0, seed=0, blocks=2) -> None:
    """A training's snapshot, with what an optimizer leaves in it."""
    width = hidden // 4
    sizes = {
        "idim": width,
        "odim": codes,
        "encoder_criterion": "ce",
        "transformer_attention_dim": width,
        "transformer_attention_heads": 4,
        "transformer_linear_units": 2 * width,
        "transformer_num_blocks": blocks,
        "transformer_output_dim": width,
    }
    write_json(folder, [width, codes, sizes])
    torch.manual_seed(seed)
    decoder = TokenDecoder(read_decoder_config(folder)).requires_grad_(False)
    for name, tensor in decoder.state_dict().items():
        if "norm" not in name:
            tensor.normal_(0, 1 / width**0.5)
    decoder.embedding.weight.normal_(0, 1)
    decoder.out_fnn.weight.normal_(0, 2 / width**0.5)
    # Only where it is among the two likeliest can it be drawn.
    decoder.out_fnn.bias.zero_()
    decoder.out_fnn.bias[decoder.config.end] = eager
    save(
        folder,
        {
            "model": decoder.state_dict(),
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
            "args": argparse.Namespace(lr=1e-4),
            "loss": np.float64(2.5),
            "epoch": 3,
        },
    )


def make_codec(folder: Path, *, codes, seed=0, half=True) -> None:
    """Published rates and kernels, few channels."""
    sizes = {
        "resblock": "1",
        "upsample_rates": [8, 5, 5, 3],
        "upsample_kernel_sizes": [16, 11, 11, 5],
        "upsample_initial_channel": 32,
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
        "sampling_rate": 24_000,
        "n_code_groups": 1,
        "residul_layer": 1,
        "n_codes": codes,
        "global_code_num": 4,
        "global_feature_conv": [8, 4, 8, 3, 1],
        "global_tokens": [3, 1, 4, 1],
    }
    write_json(folder, sizes)
    torch.manual_seed(seed)
    codec = Codec(read_codec_config(folder)).requires_grad_(False)
    for name, tensor in codec.state_dict().items():
        if name.startswith("quantizer"):
            tensor.normal_(0, 1)
        elif name.endswith("weight"):
            fan = tensor[0].numel() if ".ups." not in name else tensor[:, 0].numel() / 4
            tensor.normal_(0, 1 / fan**0.5)
        else:
            tensor.zero_()
    codec.generator.conv_post.weight *= LEVEL / codec.decode(list(range(codes))).std()
    parts = {"generator": {}, "quantizer": {}, "encoder": {"conv_pre.bias": torch.zeros(4)}}
    for name, tensor in codec.state_dict().items():
        part, _, rest = name.partition(".")
        for key, value in (normed(rest, tensor) if part == "generator" else {rest: tensor}).items():
            parts[part][key] = value.half() if half else value.clone()
    save(folder, parts)


def normed(name, tensor):
    """A weight as the pair that weight normalization stores."""
    if not name.endswith(".weight"):
        return {name: tensor}
    norm = tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.dim() - 1))
    return {f"{name}_g": norm, f"{name}_v": tensor}


def write_json(folder: Path, value) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(value))


def save(folder: Path, value) -> None:
    torch.save(value, folder / "final.pt")


def reload(path):
    """What a final.pt holds, all of it in memory, so that the file can be written anew."""
    with torch.serialization.safe_globals(_HARMLESS):
        return torch.load(path, weights_only=True)
