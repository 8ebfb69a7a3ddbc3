"""Makes a snapshot in the layout of OpenS2S: random weights, tiny, with tokenizers of its own.

Its text is made of a few English words, so that one can read what streams.
"""

import json
from pathlib import Path

import torch
from opens2s_golden import TEMPLATE
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from engines.opens2s.config import read_config
from engines.opens2s.model import OpenS2S

SENTENCE = (
    "the sky is blue because light of short waves bends more than red on its way through air "
    "and so we see it from all sides while evening turns gold"
)
WORDS = SENTENCE.split()
ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPOKEN = ("<|im_audio_start|>", "<|im_audio_end|>", "<|im_tts_start|>", "<|im_tts_end|>")

#: Of the random tables; larger ones make likelier tokens.
SPREAD = 0.3


def make(folder: Path, *, strategy="1:2", codes=300, units=400, seed=0, **changes):
    """Write a snapshot.

    Args:
        folder: Where to; made if need be.
        strategy: Text tokens and units of a round.
        codes: How many the speech model knows.
        units: The most of one reply.
        seed: Of the weights.
        changes: Of config.json.
    """
    text = bytes_tokenizer([*ENDS, *SPOKEN], [f" {word}" for word in dict.fromkeys(WORDS)])
    speech = bytes_tokenizer([ENDS[0]], [f"<|audio_{number}|>" for number in range(codes)])
    llm = qwen3(64, text.get_vocab_size())
    tts = qwen3(48, speech.get_vocab_size())
    encoder = {
        "model_type": "qwen2_audio_encoder",
        "d_model": 32,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "encoder_layers": 2,
        "num_mel_bins": 128,
        "max_source_positions": 1500,
    }
    config = {
        "architectures": ["OmniSpeechModel"],
        "audio_encoder_config": encoder,
        "llm_config": llm,
        "tts_lm_config": tts,
        "conv_kernel_sizes": "5,5",
        "adapter_inner_dim": 40,
        "interleave_strategy": strategy,
        "lora_config": None,
    } | changes
    write(folder / "config.json", config)
    write_tokenizer(folder, text, {"chat_template": TEMPLATE, "eos_token": ENDS[2]})
    write_tokenizer(folder / "tts", speech, {"eos_token": ENDS[0]})
    ends = [text.token_to_id(ENDS[2]), text.token_to_id(ENDS[0])]
    write(folder / "generation_config.json", {"eos_token_id": ends, "top_k": 20})
    end = [speech.token_to_id(ENDS[0])]
    write(folder / "tts" / "generation_config.json", {"eos_token_id": end, "max_new_tokens": units})
    front = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 128,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": 30,
        "padding_value": 0.0,
    }
    write(folder / "audio" / "preprocessor_config.json", front)
    save_file(weights(folder, text, speech, seed), folder / "model.safetensors")
    return folder


def weights(folder, text, speech, seed):
    """Random, with output layers that prefer words, and sounds."""
    torch.manual_seed(seed)
    model = OpenS2S(read_config(folder))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=SPREAD / parameter[0].numel() ** 0.1)
    for part, tokenizer, first in (
        (model.llm_model, text, f" {WORDS[0]}"),
        (model.tts_lm_model, speech, "<|audio_0|>"),
    ):
        head = part.lm_head.weight.data
        head[: tokenizer.token_to_id(first)] *= 0.1
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def qwen3(hidden, vocabulary):
    return {
        "model_type": "qwen3",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
    }


def bytes_tokenizer(special, plain):
    """One token a byte, and tokens that are found as they stand."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return tokenizer


def write_tokenizer(folder, tokenizer, config):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer"} | config)


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
