"""A tiny random Higgs Audio v2 in the layout of the published one, and transformers' own parts.

transformers imports torchaudio beside its codec, for one resampling; a stand-in with our
resampler is enough, and only the tests need it.
"""

import atexit
import json
import shutil
import sys
import tempfile
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    DacConfig,
    DacFeatureExtractor,
    HiggsAudioV2Config,
    HiggsAudioV2ForConditionalGeneration,
    HiggsAudioV2TokenizerConfig,
    HubertConfig,
    PreTrainedTokenizerFast,
)

from codec.resampling import resample

SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|AUDIO_OUT|>",
    "<|audio_out_bos|>",
    "<|audio_eos|>",
    "<|reserved_special_token_6|>",
    "<|scene_desc_start|>",
    "<|scene_desc_end|>",
)
#: RMS of what the codec makes of random codes.
LEVEL = 0.1
#: What the published template makes of the messages that are used here, in our own words.
TEMPLATE = """
{%- macro sound() -%} <|audio_out_bos|><|AUDIO_OUT|><|audio_eos|> {%- endmacro -%}
{%- macro header(role) -%}
  {{- '<|start_header_id|>' + role + '<|end_header_id|>\n\n' -}}
{%- endmacro -%}
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role == 'scene' -%}
    {{- '\n\n<|scene_desc_start|>\n' -}}
    {%- for part in message.content -%}
      {%- if part.type == 'audio' -%}
        {{- ' ' + sound() -}}
        {%- if not loop.last -%} {{- '\n' -}} {%- endif -%}
      {%- else -%}
        {{- part.text | trim -}}
        {%- if loop.first and not loop.last -%} {{- '\n\n' -}}
        {%- elif not loop.last and message.content[loop.index].type != 'audio' -%} {{- '\n' -}}
        {%- endif -%}
      {%- endif -%}
    {%- endfor -%}
    {{- '\n<|scene_desc_end|><|eot_id|>' -}}
  {%- else -%}
    {{- header(message.role) -}}
    {%- for part in message.content -%}
      {%- if part.type == 'audio' -%} {{- sound() -}}
      {%- else -%} {{- part.text | trim -}} {%- endif -%}
    {%- endfor -%}
    {%- if loop.nextitem is not defined or loop.nextitem.role != 'scene' -%}
      {{- '<|eot_id|>' -}}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%} {{- header('assistant') + '<|audio_out_bos|>' -}} {%- endif -%}
"""


def published_codec():
    """transformers' module with its own codec, `HiggsAudioV2TokenizerModel`."""
    standin = ModuleType("torchaudio")
    standin.__spec__ = ModuleSpec("torchaudio", None)
    standin.functional = ModuleType("torchaudio.functional")

    def resampled(wave, source, target):
        rows = [resample(row.numpy(), source, target) for row in wave.reshape(-1, wave.shape[-1])]
        return torch.from_numpy(np.stack(rows)).reshape(*wave.shape[:-1], -1)

    standin.functional.resample = resampled
    before = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = standin
    try:
        name = "transformers.models.higgs_audio_v2_tokenizer.modeling_higgs_audio_v2_tokenizer"
        return import_module(name)
    finally:
        if before is None:
            del sys.modules["torchaudio"]
        else:
            sys.modules["torchaudio"] = before


def make_codec(folder: Path, *, width: int = 64, seed: int = 0, level: float = LEVEL) -> Path:
    """A codec with the published strides, codebooks and reach, and few channels."""
    ratios = [8, 5, 4, 2, 3]
    config = HiggsAudioV2TokenizerConfig(
        target_bandwidths=[0.5, 1, 1.5, 2],
        codebook_dim=16,
        acoustic_model_config=DacConfig(
            encoder_hidden_size=4,
            downsampling_ratios=ratios,
            decoder_hidden_size=width,
            upsampling_ratios=ratios,
            hidden_size=16,
        ),
        semantic_model_config=HubertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        ),
    )
    torch.manual_seed(seed)
    model = published_codec().HiggsAudioV2TokenizerModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("codebook.embed"):
                tensor.normal_(0, 1)
            elif "acoustic_decoder" in name and name.endswith("weight"):
                tensor.normal_(0, 1.2 / tensor[0].numel() ** 0.5)
        # As loud as speech, so that a click would show.
        last = model.acoustic_decoder.conv2
        last.weight *= level / model.decode(torch.randint(1024, (1, 8, 100))).audio_values.std()
    model.save_pretrained(folder)
    return folder


def make_model(
    folder: Path, *, width: int = 64, layers: int = 2, seed: int = 0, eager: float = 2.0
) -> Path:
    """The language model, its tokenizer and its template, as the published folder has them.

    `eager` scales how much the first codebook's end is drawn: at 1, replies last some seconds.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, *SPECIALS])}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        additional_special_tokens=list(SPECIALS),
        chat_template=TEMPLATE,
    )
    tokenizer.save_pretrained(folder)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIALS}
    config = HiggsAudioV2Config(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        pad_token_id=ids["<|end_of_text|>"],
        bos_token_id=ids["<|begin_of_text|>"],
        eos_token_id=ids["<|eot_id|>"],
        codebook_size=1026,
        audio_token_id=ids["<|AUDIO_OUT|>"],
        audio_bos_token_id=ids["<|audio_out_bos|>"],
        audio_delay_token_id=ids["<|reserved_special_token_6|>"],
    )
    torch.manual_seed(seed)
    model = HiggsAudioV2ForConditionalGeneration(config, use_text_head=True).eval()
    with torch.no_grad():
        model.audio_lm_head.weight.normal_(0, 0.3)
        model.audio_lm_head.weight[config.audio_stream_eos_id] *= eager
    model.generation_config.ras_win_len = 7
    model.generation_config.ras_win_max_num_repeat = 2
    model.save_pretrained(folder)
    processor = {"processor_class": "HiggsAudioV2Processor", "audio_token": "<|AUDIO_OUT|>"}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def published_processor(model: Path, codec: Path):
    """transformers' processor over a folder of each kind, without its look for torchaudio."""
    module = import_module("transformers.models.higgs_audio_v2.processing_higgs_audio_v2")
    published = published_codec().HiggsAudioV2TokenizerModel

    class Processor(module.HiggsAudioV2Processor):
        def check_argument_for_proper_class(self, argument_name, argument):
            return type(argument)

    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    tokenizer.pad_token = tokenizer.eos_token
    return Processor(
        DacFeatureExtractor(sampling_rate=24_000, hop_length=1),
        tokenizer,
        published.from_pretrained(codec).eval(),
        chat_template=TEMPLATE,
    )


@cache
def folders() -> tuple[Path, Path]:
    """The model and the codec, made once; removed when the tests are over."""
    folder = Path(tempfile.mkdtemp(prefix="parley-higgs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_model(folder / "model"), make_codec(folder / "codec")
