"""The networks of VITA-1.5's voice once more, as plainly as can be, from the tensors of a file."""

import torch
from torch.nn import functional


def llama(tensors, name, rows, heads):
    """One layer in which every row sees every other; `rows` are all there are, `[n, width]`."""

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    def linear(x, part):
        return x @ tensors[f"{name}.{part}.weight"].T

    count, width = rows.shape
    size = width // heads
    speeds = 10_000 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(count)[:, None] * speeds

    def turned(x):
        x = x.view(count, heads, size).transpose(0, 1)
        left, right = x[..., : size // 2], x[..., size // 2 :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)

    x = norm(rows, tensors[f"{name}.input_layernorm.weight"])
    queries = turned(linear(x, "self_attn.q_proj"))
    keys = turned(linear(x, "self_attn.k_proj"))
    values = linear(x, "self_attn.v_proj").view(count, heads, size).transpose(0, 1)
    weights = (queries @ keys.transpose(1, 2) / size**0.5).softmax(-1)
    seen = (weights @ values).transpose(0, 1).reshape(count, width)
    rows = rows + linear(seen, "self_attn.o_proj")
    x = norm(rows, tensors[f"{name}.post_attention_layernorm.weight"])
    inner = functional.silu(linear(x, "mlp.gate_proj")) * linear(x, "mlp.up_proj")
    return rows + linear(inner, "mlp.down_proj")


def prepared(tensors, rows, heads):
    """What the layers before the main stack make of a text."""
    layers = sum(name.startswith("layers_pre_nn.") for name in tensors) // 9
    for layer in range(layers):
        rows = llama(tensors, f"layers_pre_nn.{layer}", rows, heads)
    return rows


def first_logits(tensors, text, heads, begin, start):
    """What follows the start, when the text has been read both ways and the start only after."""
    layers = sum(name.startswith("layers.") for name in tensors) // 9
    rows = torch.cat([tensors["embedding.weight"][begin : begin + 1], text])
    last = tensors["embedding.weight"][start : start + 1]
    for layer in range(layers):
        name = f"layers.{layer}"
        # The start sees the text, and the text does not see the start.
        last = llama(tensors, name, torch.cat([rows, last]), heads)[-1:]
        rows = llama(tensors, name, rows, heads)
    state = last / (last.square().mean(-1, keepdim=True) + 1e-6).sqrt() * tensors["norm.weight"]
    return (state @ tensors["out_fnn.weight"].T + tensors["out_fnn.bias"])[0]


def wave(parts, sizes, codes):
    """The codec, from both parts of its file and its model.json."""
    generator = {name: tensor.float() for name, tensor in parts["generator"].items()}
    quantizer = {name: tensor.float() for name, tensor in parts["quantizer"].items()}

    def conv(x, name, dilation=1):
        weight = weighted(name)
        padding = (weight.shape[-1] - 1) * dilation // 2
        return functional.conv1d(
            x, weight, generator[f"{name}.bias"], padding=padding, dilation=dilation
        )

    def weighted(name):
        return torch._weight_norm(generator[f"{name}.weight_v"], generator[f"{name}.weight_g"], 0)

    def relu(x):
        return functional.leaky_relu(x, 0.1)

    style = torch.cat(
        [
            quantizer[f"quantizer_modules_globaltokens.{number}.embedding.weight"][token]
            for number, token in enumerate(sizes["global_tokens"])
        ]
    )
    x = quantizer["quantizer_modules.0.embedding.weight"][codes].T[None]
    x = conv(x, "conv_pre")
    kinds = len(sizes["resblock_kernel_sizes"])
    for stage, rate in enumerate(sizes["upsample_rates"]):
        name = f"ups.{stage}"
        weight = weighted(name)
        padding = (weight.shape[-1] - rate) // 2
        x = functional.conv_transpose1d(
            relu(x), weight, generator[f"{name}.bias"], rate, padding=padding
        )
        total = 0
        for kind, dilations in enumerate(sizes["resblock_dilation_sizes"]):
            y = x
            for number, dilation in enumerate(dilations):
                block = f"resblocks.{stage * kinds + kind}"
                inner = conv(relu(y), f"{block}.convs1.{number}", dilation)
                y = y + conv(relu(inner), f"{block}.convs2.{number}")
            total = total + y / kinds
        x = total + style[:, None] if total.shape[1] == len(style) else total
    return conv(relu(x), "conv_post").tanh()[0, 0]
