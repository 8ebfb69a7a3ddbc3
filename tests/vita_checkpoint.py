"""Makes VITA-Audio checkpoints in the published layout: random weights, tiny, that keep the form.

The random part makes what is written depend on all that came before. A part that is not random
gives it the form of a reply: text, a mark, codes, a mark, text again. So the tests see replies in
which everything happens, without a model that means anything.
"""

import json
import shutil
from pathlib import Path

import torch
from codec_golden import DECODER, HERE, TOKENIZER
from safetensors.torch import save_file

from engines.vita_audio.layout import Sizes, tensors
from engines.vita_audio.sensevoice import EncoderConfig
from engines.vita_audio.vocabulary import Vocabulary

#: Codes of the small codec, and of the tokenizers of the reference data.
CODES = 512

TINY = Sizes(
    layers=2,
    heads=3,
    vocabulary=960,
    hidden=64,
    intermediate=96,
    attention_heads=4,
    key_value_heads=2,
)
TINY_PLUS = Sizes(
    layers=2,
    heads=3,
    vocabulary=960,
    hidden=64,
    intermediate=96,
    attention_heads=4,
    key_value_heads=2,
    encoder=EncoderConfig(
        features=560, hidden=16, inner=20, blocks=1, text_blocks=1, kernel=11, queries=16, output=64
    ),
    transcripts=30,
)

#: What comes before and what may follow: the score of each kind of token after each other kind,
#: before the random part (standard deviation 2). There are hundreds of words and codes, so the
#: best of them has 6 more.
_FORM = {
    "word": {"word": 2.0, "begin": 8.0},
    "begin": {"code": 12.0},
    "code": {"code": 2.0, "end": 7.0},
    "end": {"word": 3.0},
}
_KINDS = tuple(_FORM)
_NEVER = -12.0
#: Strength of a token's kind in the residual stream, beside random numbers of 1.
_STRENGTH = 4.0


def make(folder: Path, sizes: Sizes = TINY, *, seed: int = 0, window: int = 32_768) -> Path:
    """Write a checkpoint.

    Args:
        folder: Where to.
        sizes: Of the checkpoint; `encoder` makes it a Plus model.
        seed: Of the random part.
        window: Tokens that it was trained on, as it says.
    """
    folder.mkdir(parents=True)
    plus = sizes.encoder is not None
    kind = "sensevoice_glm4voice" if plus else "glm4voice"
    shutil.copy(HERE / "prompts" / f"tokenizer_{kind}" / "tokenizer.json", folder)
    words = Vocabulary.load(folder, size=sizes.vocabulary, codes=CODES, continuous=plus)
    config = {
        "architectures": [f"Qwen2MTP{'SenseVoice' if plus else ''}ForCausalLM"],
        "model_type": "qwen2_mtp_sensevoice" if plus else "qwen2_mtp",
        "bos_token_id": words.text_end,
        "eos_token_id": words.turn_end,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": window,
        "num_attention_heads": sizes.attention_heads,
        "num_hidden_layers": sizes.layers + sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "num_nextn_predict_layers": sizes.heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": sizes.vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(config))
    ends = [words.turn_end, words.text_end]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    made = weights(sizes, words, seed)
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def weights(sizes: Sizes, words: Vocabulary, seed: int) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, in bfloat16."""
    random = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in tensors(sizes).items():
        if "norm" in name:
            value = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        else:
            value = torch.randn(shape, generator=random) / shape[-1] ** 0.5
        made[name] = value
    hidden, first = sizes.hidden, len(_KINDS)
    kinds = torch.tensor([_kind(words, token) for token in range(sizes.vocabulary)])
    embed = torch.randn(sizes.vocabulary, hidden, generator=random)
    embed[:, :first] = 0
    head = torch.randn(sizes.vocabulary, hidden, generator=random) * 2 / hidden**0.5
    head[:, :first] = _NEVER / _STRENGTH
    for index, kind in enumerate(_KINDS):
        embed[kinds == index, index] = _STRENGTH
        for follower, score in _FORM[kind].items():
            head[kinds == _KINDS.index(follower), index] = score / _STRENGTH
    head[kinds < 0] = 0
    head[kinds < 0, :first] = _NEVER / _STRENGTH
    made["model.embed_tokens.weight"], made["lm_head.weight"] = embed, head
    for name, value in made.items():
        # What the layers add is random, and leaves alone which kind a token is of.
        if name.endswith(("o_proj.weight", "down_proj.weight")) or "audio_projection.mlp.2" in name:
            value[:first] = 0
    for number in range(sizes.heads):
        made[f"mtp_projs.{number}.weight"][:, :hidden] = torch.eye(hidden)
        made[f"mtp_projs.{number}.weight"][:first, hidden:] = 0
    return {name: value.bfloat16().contiguous() for name, value in made.items()}


def _kind(words: Vocabulary, token: int) -> int:
    if token == words.begin:
        return _KINDS.index("begin")
    if token == words.end:
        return _KINDS.index("end")
    if words.code(token) is not None:
        return _KINDS.index("code")
    # Words of more than one letter, and the white space that ends a prompt.
    plain = token < words.text_end and words.tokenizer.decode([token]).isascii()
    return _KINDS.index("word") if plain else -1


def place(data: Path) -> Path:
    """A data folder with small weights of all four engines where the real ones are kept."""
    kept = data / "weights"
    for name, sizes in SMALL.items():
        make(kept / name, sizes)
    (kept / "SenseVoiceSmall").mkdir()
    shutil.copy(HERE / "mtp_lm_sensevoice" / "checkpoint" / "am.mvn", kept / "SenseVoiceSmall")
    shutil.copytree(DECODER, kept / "glm-4-voice-decoder")
    shutil.copytree(TOKENIZER, kept / "glm-4-voice-tokenizer")
    return data


SMALL = {
    "VITA-Audio-Boost": TINY,
    "VITA-Audio-Plus-Boost": TINY_PLUS,
}
