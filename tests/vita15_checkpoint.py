"""Makes snapshots in the layout of VITA-1.5: random weights, tiny, that keep the form of a reply.

The random part makes what is written depend on all that came before. A part that is not random
gives it the form of a reply: a mark, then words, with a full stop now and then, and an end. So the
tests see replies in which everything happens, without a model that means anything.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from engines.vita.config import VisionConfig
from engines.vita.layout import Sizes, tensors
from engines.vita.speech.codec import Codec
from engines.vita.speech.config import read_codec_config, read_decoder_config
from engines.vita.speech.decoder import TokenDecoder
from engines.vita.vocabulary import HEARD, IGNORED, READ
from engines.vita.whale import WhaleConfig

SENTENCE = (
    "the sky is blue because light of short waves bends more than red on its way through air "
    "and so we see it from all sides while evening turns gold"
)
WORDS = SENTENCE.split()
ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = (HEARD, READ, IGNORED)
AUDIO = "audio-encoder-tiny"

SIZES = Sizes(
    vocabulary=400,
    hidden=64,
    intermediate=96,
    layers=2,
    attention_heads=4,
    key_value_heads=2,
    audio=WhaleConfig(width=32, heads=2, inner=48, layers=2, kernel=5, output=64),
    vision=VisionConfig(width=32, heads=2, inner=48, layers=2, size=56, patch=14),
)

#: What comes before and what may follow: the score of each kind of token after each other kind,
#: before the random part (standard deviation 2).
_FORM = {
    "open": {"mark": 14.0},
    "mark": {"word": 6.0},
    "word": {"word": 4.0, "stop": 7.0},
    "stop": {"word": 6.0, "end": 7.0},
}
_KINDS = ("open", "mark", "word", "stop", "end")
_NEVER = -14.0
#: Strength of a token's kind in the residual stream, beside random numbers of 1.
_STRENGTH = 4.0


def place(data: Path, **options) -> Path:
    """A data folder with tiny weights where the real ones are kept."""
    make(data / "weights" / "VITA-1.5", **options)
    make_vision(data / "weights" / "InternViT-300M-448px")
    return data


def make(
    folder: Path,
    sizes: Sizes = SIZES,
    *,
    mark: str = HEARD,
    seed: int = 0,
    longest: int = 6200,
    end: float = 7.0,
    rival: str = "",
) -> Path:
    """Write a snapshot.

    Args:
        folder: Where to.
        sizes: Of the snapshot.
        mark: With which replies begin.
        seed: Of the random part.
        longest: Tokens of a prompt with its reply, as it says.
        end: Score of the end of a reply after a full stop.
        rival: Another mark, nearly as likely.
    """
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(folder)
    config = {
        "architectures": ["VITAQwen2ForCausalLM"],
        "model_type": "vita-Qwen2",
        "bos_token_id": tokenizer.token_to_id(ENDS[0]),
        "eos_token_id": tokenizer.token_to_id(ENDS[2]),
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "image_aspect_ratio": "square",
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": 32_768,
        "mm_audio_encoder": f"/somewhere/{AUDIO}",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "OpenGVLab/InternViT-300M-448px",
        "num_attention_heads": sizes.attention_heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.key_value_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "tokenizer_model_max_length": longest,
        "torch_dtype": "float16",
        "use_s2": False,
        "vocab_size": sizes.vocabulary,
    }
    write(folder / "config.json", config)
    make_audio(folder / AUDIO, sizes.audio)
    made = weights(sizes, tokenizer, mark, seed, end)
    if rival:
        own, other = (tokenizer.token_to_id(text) for text in (mark, rival))
        head = made["lm_head.weight"]
        head[other] = head[own]
        head[other, 0] -= 0.1
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    make_voice(folder / "vita_tts_ckpt", sizes.hidden // 4, seed)
    return folder


def make_tokenizer(folder: Path) -> Tokenizer:
    """One token a byte, and words, marks and ends that are found as they stand."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    plain = [*(f" {word}" for word in dict.fromkeys(WORDS)), *MARKS]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ENDS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer"})
    return tokenizer


def make_audio(folder: Path, audio: WhaleConfig) -> None:
    """The files beside the weights of the audio encoder."""
    layers = {
        "transformer-attention-dim": audio.width,
        "transformer-attention-heads": audio.heads,
        "transformer-chunk_size": 4,
        "transformer-dynamic-chunks": True,
        "transformer-input-layer": "linear",
        "transformer-left_chunks": 16,
        "transformer-normalize-before": True,
        "transformer-num-blocks": audio.layers,
        "transformer-pos-enc-class": "rel-enc",
    }
    train = {
        "input_dim": 80,
        "dataset_conf": {"fbank_conf": {"dither": 1.0, "num_mel_bins": 80}},
        "encoder_conf": {
            "para_conf": {"subsampling": {"subsampling-rate": 4}, "transformer": layers}
        },
        "model_conf": {"add_audio_bos_eos": False, "kernel_size": audio.kernel},
    }
    write(folder / "train.yaml", train)  # JSON is YAML.
    sums = {"mean_stat": [1000.0] * 80, "var_stat": [11_600.0] * 80, "frame_num": 100}
    write(folder / "global_cmvn", sums)


def make_vision(folder: Path, vision: VisionConfig = SIZES.vision) -> Path:
    """The configuration of the image encoder."""
    config = {
        "hidden_size": vision.width,
        "num_attention_heads": vision.heads,
        "intermediate_size": vision.inner,
        "num_hidden_layers": vision.layers,
        "image_size": vision.size,
        "patch_size": vision.patch,
        "layer_norm_eps": vision.eps,
        "hidden_act": "gelu",
        "norm_type": "layer_norm",
        "qk_normalization": False,
        "qkv_bias": True,
    }
    write(folder / "config.json", config)
    front = {"size": vision.size, "crop_size": vision.size}
    front |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    write(folder / "preprocessor_config.json", front)
    return folder


def weights(
    sizes: Sizes, tokenizer: Tokenizer, mark: str, seed: int, end: float
) -> dict[str, torch.Tensor]:
    """Every tensor of a snapshot, in half precision as published."""
    random = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in tensors(sizes).items():
        if "norm" in name or "bn2" in name or ".embed.1." in name:
            value = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        elif name.endswith(("ls1", "ls2")):
            value = torch.ones(shape)
        else:
            value = torch.randn(shape, generator=random) / max(1, shape[-1]) ** 0.5
        made[name] = value
    made["model.audio_encoder.encoder.global_cmvn.mean"] = torch.full((80,), 10.0)
    made["model.audio_encoder.encoder.global_cmvn.istd"] = torch.full((80,), 0.25)
    hidden, first = sizes.hidden, len(_KINDS)
    kinds = torch.tensor([_kind(tokenizer, token, mark) for token in range(sizes.vocabulary)])
    embed = torch.randn(sizes.vocabulary, hidden, generator=random)
    embed[:, :first] = 0
    head = torch.randn(sizes.vocabulary, hidden, generator=random) * 2 / hidden**0.5
    head[:, :first] = _NEVER / _STRENGTH
    for index, kind in enumerate(_KINDS):
        embed[kinds == index, index] = _STRENGTH
        for follower, score in _FORM.get(kind, {}).items():
            right = end if follower == "end" else score
            head[kinds == _KINDS.index(follower), index] = right / _STRENGTH
    head[kinds < 0] = 0
    head[kinds < 0, :first] = _NEVER / _STRENGTH
    made["model.embed_tokens.weight"], made["lm_head.weight"] = embed, head
    for name, value in made.items():
        # What layers and encoders add is random, and leaves alone which kind a token is of.
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            value[:first] = 0
    return {name: value.half().contiguous() for name, value in made.items()}


def _kind(tokenizer: Tokenizer, token: int, mark: str) -> int:
    text = tokenizer.decode([token], skip_special_tokens=False)
    if text == "\n":
        return _KINDS.index("open")
    if text == mark:
        return _KINDS.index("mark")
    if text.strip() in WORDS:
        return _KINDS.index("word")
    if text == ".":
        return _KINDS.index("stop")
    return _KINDS.index("end") if text == ENDS[2] else -1


def make_voice(folder: Path, width: int, seed: int) -> None:
    """Decoder and codec of the voice; a clause takes about a second."""
    torch.manual_seed(seed)
    rest = {
        "transformer_attention_dim": width,
        "transformer_attention_heads": 2,
        "transformer_linear_units": 2 * width,
        "transformer_num_blocks": 2,
    }
    write(folder / "decoder" / "model.json", [width, 64, rest])
    codec = {
        "resblock": "1",
        "n_code_groups": 1,
        "residul_layer": 1,
        "sampling_rate": 24_000,
        "n_codes": 64,
        "global_code_num": 8,
        "global_tokens": [list(range(8))],
        "global_feature_conv": [1, 1, 8],
        "upsample_initial_channel": 32,
        "upsample_rates": [8, 5, 5, 3],
        "upsample_kernel_sizes": [16, 11, 11, 5],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
    }
    write(folder / "codec" / "model.json", codec)
    decoder = TokenDecoder(read_decoder_config(folder / "decoder"))
    config = decoder.config
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.5)
        # Two ids are drawn from, so every code has about one end beside it in thirty.
        decoder.out_fnn.bias.zero_()
        decoder.out_fnn.bias[config.end] = 3.0
        decoder.out_fnn.bias[[config.begin, config.start, config.pad]] = -20.0
    torch.save({"model": decoder.state_dict()}, folder / "decoder" / "final.pt")
    sound = Codec(read_codec_config(folder / "codec"))
    with torch.no_grad():
        for parameter in sound.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    state = {"generator": {}, "quantizer": {}, "encoder": {}}
    for name, tensor in sound.state_dict().items():
        part, _, rest_of_name = name.partition(".")
        state[part][rest_of_name] = tensor.half()
    torch.save(state, folder / "codec" / "final.pt")


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
