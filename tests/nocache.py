"""VITA-Audio's language model over again: no caches, no modules, everything at every step."""

import torch
from torch.nn.functional import embedding, linear, silu


class NoCache:
    """Computes the scores of any step from the token ids alone.

    Args:
        tensors: Of the checkpoint.
        config: Its sizes.
    """

    def __init__(self, tensors, config):
        self.w = {name: tensor.double() for name, tensor in tensors.items()}
        self.c = config

    def norm(self, name, x):
        return self.w[name] * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.c.norm_eps)

    def layer(self, index, x):
        at = f"model.layers.{index}."
        n, size = len(x), self.c.head_size
        angles = torch.arange(n).double()[:, None] * self.c.rope_theta ** (
            -torch.arange(0, size, 2).double() / size
        )
        cosine, sine = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

        def heads(kind, y):
            name = f"{at}self_attn.{kind}_proj."
            out = linear(y, self.w[name + "weight"], self.w[name + "bias"]).view(n, -1, size)
            return out.transpose(0, 1)

        def turned(y):
            half = torch.cat((-y[..., size // 2 :], y[..., : size // 2]), -1)
            return y * cosine + half * sine

        y = self.norm(at + "input_layernorm.weight", x)
        groups = self.c.attention_heads // self.c.key_value_heads
        q = turned(heads("q", y))
        k = turned(heads("k", y)).repeat_interleave(groups, 0)
        v = heads("v", y).repeat_interleave(groups, 0)
        scores = q @ k.transpose(1, 2) / size**0.5
        scores = scores.masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -torch.inf)
        out = (scores.softmax(-1) @ v).transpose(0, 1).reshape(n, -1)
        x = x + linear(out, self.w[at + "self_attn.o_proj.weight"])
        y = self.norm(at + "post_attention_layernorm.weight", x)
        gate = silu(linear(y, self.w[at + "mlp.gate_proj.weight"]))
        up = linear(y, self.w[at + "mlp.up_proj.weight"])
        return x + linear(gate * up, self.w[at + "mlp.down_proj.weight"])

    def scores(self, ids, head):
        """Of the token after `ids`, from the main model (`head` None) or from a head."""
        made = 0 if head is None else head + 1
        known = torch.tensor(ids)
        n = len(ids) - made
        x = embedding(known[:n], self.w["model.embed_tokens.weight"])
        for index in range(self.c.layers):
            x = self.layer(index, x)
        x = self.norm("model.norm.weight", x)
        for index in range(made):
            token = embedding(known[index + 1 : index + 1 + n], self.w["model.embed_tokens.weight"])
            both = torch.cat(
                (
                    self.norm(f"mtp_embed_norms.{index}.weight", token),
                    self.norm(f"mtp_hidden_norms.{index}.weight", x),
                ),
                -1,
            )
            x = self.layer(self.c.layers + index, linear(both, self.w[f"mtp_projs.{index}.weight"]))
            x = self.norm("model.norm.weight", x)
        return linear(x[-1], self.w["lm_head.weight"])

    def greedy(self, ids, heads):
        """The likeliest tokens, made by the main model (None) or a head, as listed."""
        ids, start = list(ids), len(ids)
        for head in heads:
            ids.append(int(self.scores(ids, head).argmax()))
        return ids[start:]
