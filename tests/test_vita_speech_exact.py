"""The voice of VITA-1.5 against its reference data, each case as far as it is there."""

import json

import numpy as np
import pytest
import torch
import vita_speech_golden as golden
import vita_speech_plain as plain
from vita_speech_checkpoint import make, reload

from engines.vita.speech import reference
from engines.vita.speech.chunks import PADDING, Chunks
from engines.vita.speech.config import DecoderConfig
from engines.vita.speech.cutting import Pacing, quietest
from engines.vita.speech.decoder import Reading
from engines.vita.speech.drawing import Rule, draw, write_codes

#: Where only a part of the data is beside the tests.
NONE = "this part of the reference data is not here"


def each(kind, key=None):
    """Parameters: every folder, or every run of every folder."""
    found = [
        pytest.param(folder, run, id=f"{folder.name}-{number}") if key else folder
        for folder in golden.cases(kind)
        for number, run in enumerate(golden.meta(folder)[key] if key else [None])
    ]
    return found or [pytest.param(*[None] * (2 if key else 1), marks=pytest.mark.skip(NONE))]


def close(got, wanted, atol):
    assert got.shape == wanted.shape
    torch.testing.assert_close(got.float(), wanted.float(), atol=atol, rtol=0)


@pytest.mark.parametrize(("folder", "run"), each("tts_ar", "runs"))
def test_codes_are_those_of_the_reference(folder, run):
    decoder, meta = golden.decoder(folder), golden.meta(folder)
    given, wanted = golden.inputs(folder), golden.expected(folder)
    name = f"run{run['run']}"
    head = golden.SpeechHead.__new__(golden.SpeechHead)
    head.decoder, head._embedding = decoder, given["llm_embedding_table"]
    rows = head.rows(given[f"{name}.text_ids"].tolist())
    assert torch.equal(rows, wanted[f"{name}.hidden_in"][0])
    with torch.inference_mode():
        prepared = decoder.prepare(rows)
        close(prepared, wanted[f"{name}.pre_nn_out"][0], meta["tolerance"]["pre_nn_atol"])
    rule = Rule(run["top_k"], run["penalty_window_size"], run["penalty"])
    uniforms = iter(given[f"{name}.uniforms"].tolist())
    codes = write_codes(decoder, rows, lambda: next(uniforms), rule=rule, most=run["max_tokens"])
    made = []
    while True:
        try:
            made.append(next(codes))
        except StopIteration as over:
            complete = over.value
            break
    assert made == wanted[f"{name}.tokens"].tolist()
    assert complete == (run["ended_by"] == "eos")
    assert next(uniforms, None) is None, "a random number a step"


@pytest.mark.parametrize(("folder", "run"), each("tts_ar", "runs"))
def test_logits_are_those_of_the_reference(folder, run):
    decoder, meta = golden.decoder(folder), golden.meta(folder)
    wanted, name = golden.expected(folder), f"run{run['run']}"
    reading, config = Reading(), decoder.config
    with torch.inference_mode():
        decoder.read(decoder.prepare(wanted[f"{name}.hidden_in"][0]), reading)
        tokens = [config.start, *wanted[f"{name}.tokens"].tolist()]
        raw = wanted[f"{name}.raw_logits"]
        logits = torch.stack([decoder.step(token, reading) for token in tokens[: len(raw)]])
    close(logits, raw, meta["tolerance"]["logits_atol"])


@pytest.mark.parametrize("folder", each("tts_codec"))
def test_codec_sounds_like_the_reference(folder):
    codec, wanted = golden.codec(folder), golden.expected(folder)
    tolerance = golden.meta(folder)["tolerance"]
    codes = wanted["tokens"][0]
    with torch.inference_mode():
        vectors = codec.vectors(codes)
        assert torch.equal(vectors, wanted["quant_emb"])
        assert torch.equal(codec.style(), wanted["global_emb"][0])
        first = codec.generator.conv_pre(vectors)
        torch.testing.assert_close(
            first, wanted["conv_pre"], rtol=tolerance["inner_rtol"], atol=1e-5
        )
    atol = tolerance["wave_atol"]
    close(codec.decode(codes.tolist()), wanted["wave"][0, 0], atol)
    nobody = codec.style((0,) * len(codec.config.style))
    got = codec.decode(codes.tolist(), nobody)
    close(got, wanted["wave_global_zero_ids"][0, 0], atol)
    # The two voices differ by more than the tolerance, or this would show nothing.
    assert (wanted["wave_global_zero_ids"] - wanted["wave"]).abs().max() > 5 * atol


@pytest.mark.parametrize(("folder", "run"), each("tts_stream", "runs"))
def test_the_stream_has_the_pieces_of_the_reference(folder, run):
    head, given, wanted = golden.head(folder), golden.inputs(folder), golden.expected(folder)
    name = f"run{run['run']}"
    assert run["codec_padding_size"] == PADDING
    uniforms = iter(given[f"{name}.uniforms"].tolist())
    pieces = list(
        reference.segments(
            head,
            given[f"{name}.text_ids"].tolist(),
            lambda: next(uniforms),
            pacing=Pacing(run["codec_chunk_size"], run["seg_threshold"]),
            most=run["max_tokens"],
        )
    )
    atol = golden.meta(folder)["tolerance"]["wave_atol"]
    wave = torch.from_numpy(np.concatenate(pieces))
    close(wave, wanted[f"{name}.wave"][0, 0], atol)
    assert [len(piece) for piece in pieces] == wanted[f"{name}.seg_lengths"].tolist()
    codes = wanted[f"{name}.tokens"].tolist()
    close(wave, head.codec.decode(codes), 1e-5)


@pytest.mark.parametrize("folder", each("tts_cut"))
def test_cuts_are_those_of_the_reference(folder):
    given = golden.inputs(folder)
    found = golden.expected_json(folder)
    for case in found:
        chunk = given[f"c{case['i']}.syn"].float().flatten().numpy()
        at = quietest(chunk, case["threshold"], case["N"], slip=True)
        assert at == case["cut_index"], case
    assert any(case["cut_index"] is None for case in found)
    assert any(case["cut_index"] is not None for case in found)


@pytest.mark.parametrize("folder", each("tts_text"))
def test_units_are_those_of_the_reference(folder):
    expected = golden.expected_json(folder)
    rewritten = {case["in"]: case["out"] for case in expected["normalise"]}
    exact = 0
    for case in expected["server"]:
        reply = case["llm_text"].replace("☞", "")
        assert reference.split(reference.FIRST_MARK + reply) == case["queue_items"]
        units = list(reference.units(reply, lambda text: rewritten.get(text, text)))
        assert len(units) == len(case["tts_units"])
        for unit, wanted in zip(units, case["tts_units"], strict=True):
            assert unit.pacing.chunk == wanted["codec_chunk_size"]
            assert unit.pacing.threshold == wanted["seg_threshold"]
            # Its equations are put into words by rules that we do not share.
            exact += unit.text == wanted["text"]
    assert exact >= sum(len(case["tts_units"]) for case in expected["server"]) - 4
    for case in expected["gradio"]:
        assert reference.demo_sentences(case["normalised"]) == case["sentences"]


@pytest.mark.parametrize("folder", each("tts_text"))
def test_the_servers_samples_are_those_of_the_reference(folder):
    # As the data says of its stand-in for the voice.
    segment = np.full(5000, 0.5, np.float32)
    segment[:1234] = 0
    segment[4000] = -0.9
    for case in golden.expected_json(folder)["server"]:
        for number, output in enumerate(case["outputs"]):
            sent = reference.pcm(segment, first=number == 0)
            assert (len(sent), sent[0]) == (output["samples"], output["first_int16"])


def test_the_likelier_id_is_drawn_below_its_share():
    logits = torch.tensor([0.0, 3.0, 1.0, -2.0]).log_softmax(0)
    share = float(logits[1].exp() / (logits[1].exp() + logits[2].exp()))
    assert draw(logits, share - 1e-4, top_k=2) == 1
    assert draw(logits, share + 1e-4, top_k=2) == 2
    assert draw(logits, 0.999999, top_k=1) == 1


def test_chunks_are_the_same_as_all_at_once(made):
    codec = golden.codec(made)
    codes = torch.randint(60, (130,), generator=torch.Generator().manual_seed(1)).tolist()
    whole = codec.decode(codes)
    for chunk in (5, 20, 40, 200):
        chunks = Chunks(codec, chunk)
        pieces = [chunks.push(code) for code in codes] + [chunks.finish()]
        close(torch.from_numpy(np.concatenate(pieces)), whole, 1e-4)
        assert chunks.codes == len(codes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("voice"), hidden=128)


def test_the_decoder_is_what_its_tensors_say(made):
    """Both ways in the text, without hiding anything; needs no reference data."""
    decoder = golden.decoder(made)
    tensors = reload(made / "decoder" / "final.pt")["model"]
    config = decoder.config
    rows = torch.randn(12, config.width, generator=torch.Generator().manual_seed(2))
    reading = Reading()
    with torch.inference_mode():
        text = decoder.prepare(rows)
        decoder.read(text, reading)
        logits = decoder.step(config.start, reading)
    close(text, plain.prepared(tensors, rows, config.heads), 1e-4)
    wanted = plain.first_logits(tensors, text, config.heads, config.begin, config.start)
    close(logits, wanted, 1e-4)
    assert reading.rows == 14


def test_the_codec_is_what_its_tensors_say(made):
    codec = golden.codec(made)
    parts = torch.load(made / "codec" / "final.pt", weights_only=True)
    sizes = json.loads((made / "codec" / "model.json").read_text())
    codes = torch.randint(60, (30,), generator=torch.Generator().manual_seed(3))
    got = codec.decode(codes.tolist())
    assert len(got) == 30 * 600
    close(got, plain.wave(parts, sizes, codes), 1e-4)
    assert got.std() > 0.01


def test_repeats_get_less_likely_once_for_each_time():
    class Fixed:
        """Always the same logits."""

        config = DecoderConfig(width=4, heads=2, inner=4, blocks=2, codes=4)

        def prepare(self, rows):
            return rows

        def read(self, text, reading):
            pass

        def step(self, token, reading):
            return torch.tensor([4.0, 3.0, 1.0, 0.0, -9.0, -9.0, -9.0, -9.0])

    def codes(window):
        rule = Rule(top_k=1, window=window, penalty=1.2)
        return list(write_codes(Fixed(), None, lambda: 0.0, rule=rule, most=6))

    assert codes(-1) == [0] * 6
    # Twice 0: 4 / 1.2 / 1.2 = 2.78 is less than 3; twice 1: 3 / 1.44 is less than 2.78.
    assert codes(10) == [0, 0, 1, 0, 1, 0]
