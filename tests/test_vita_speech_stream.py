"""The voice of VITA-1.5 in a reply: nothing lost, nothing shared, stopped and freed at once."""

import gc

import numpy as np
import pytest
import torch
from transformers import DynamicCache
from vita_speech_checkpoint import make

from engines.base import Cancel
from engines.vita.speech.cutting import Pacing, Pieces
from engines.vita.speech.head import SpeechHead
from engines.vita.speech.stream import LATER, Options
from errors import CancelledError
from speech.pcm import concatenate

HIDDEN, TOKENS = 64, 300
REPLY = "☞Well, the answer is 3.5 metres, I think. Really! Ask me again some other time"


def encode(text):
    return [byte % TOKENS for byte in text.encode()]


def load(folder, **options):
    table = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(0))
    return SpeechHead.load(folder, table, encode, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("voice"), hidden=HIDDEN)


@pytest.fixture(scope="module")
def head(folder):
    return load(folder)


def say(stream, text, size=1000):
    """All pieces of a reply that comes in pieces of a size."""
    for at in range(0, len(text), size):
        yield from stream.push(text[at : at + size])
    yield from stream.finish()


def samples(pieces):
    return concatenate([audio for audio, _ in pieces]).samples


def test_all_words_are_spoken(head):
    stream = head.open(1, Cancel())
    pieces = list(say(stream, REPLY))
    assert " ".join(filter(None, (words for _, words in pieces))) == REPLY[1:]
    assert stream.notices == []
    assert {audio.rate for audio, _ in pieces} == {24_000}


def test_every_sample_comes_once(head, monkeypatch):
    decoded = []
    decode = head.codec.decode
    monkeypatch.setattr(head.codec, "decode", lambda codes: decoded.append(codes) or decode(codes))
    stream = head.open(2, Cancel())
    joined = samples(list(say(stream, REPLY)))
    assert len(joined) == stream.codes * head.codec.config.samples - stream.trimmed
    assert stream.codes > 60


def test_speech_is_what_the_codec_makes_of_all_codes_at_once(head):
    """But for the silence before it, and 5 ms at either end of a unit."""
    pieces = list(say(head.open(3, Cancel()), "Only one sentence in here."))
    joined = samples(pieces)
    codes = []
    spy = head.codec.decode

    def decode(given):
        codes.append(given)
        return spy(given)

    head.codec.decode = decode
    try:
        again = samples(list(say(head.open(3, Cancel()), "Only one sentence in here.")))
    finally:
        del head.codec.decode
    assert np.array_equal(joined, again)
    whole = [*codes[0][: len(codes[0])]]
    for given in codes[1:]:
        # Each call begins with the last twenty codes of the one before.
        whole += given[20:]
    wave = head.codec.decode(whole).numpy()[-len(joined) :]
    np.testing.assert_allclose(joined[120:-120], wave[120:-120], atol=1e-4)
    assert abs(joined[-1]) < 1e-3


@pytest.mark.parametrize("silent", [3000, 12_000, 13_000])
def test_nobody_waits_through_silence_before_a_reply(tmp_path, monkeypatch, silent):
    head = load(make(tmp_path, hidden=HIDDEN, eager=-100))
    decode, begun = head.codec.decode, []

    def quiet(codes):
        wave = decode(codes).clone()
        if not begun:
            wave[:silent] = 0
        begun.append(codes)
        return wave

    monkeypatch.setattr(head.codec, "decode", quiet)
    stream = head.open(17, Cancel(), Options(first=LATER, most=70))
    joined = samples(list(say(stream, "Only one sentence in here.")))
    assert len(joined) == stream.codes * 600 - stream.trimmed
    assert abs(silent - 240 - stream.trimmed) < 240
    # The rest comes with 10 ms before it.
    assert not joined[:100].any()
    assert abs(joined[100:1000]).max() > 0.03


def test_units_meet_without_a_jump(head):
    pieces = list(say(head.open(4, Cancel()), REPLY))
    joined = concatenate([audio for audio, _ in pieces])
    ends = np.cumsum([len(audio) for audio, _ in pieces])[:-1]
    assert len(ends) >= 3
    starts = [at for at, (_, words) in zip(ends, pieces[1:], strict=True) if words]
    assert starts
    assert all(abs(joined.samples[at - 1 : at + 1]).max() < 1e-3 for at in starts)


@pytest.mark.parametrize("size", [1, 3, 17])
def test_how_the_text_arrives_changes_nothing(head, size):
    whole = list(say(head.open(5, Cancel()), REPLY))
    pieces = list(say(head.open(5, Cancel()), REPLY, size))
    assert np.array_equal(samples(pieces), samples(whole))
    assert [words for _, words in pieces] == [words for _, words in whole]


def test_a_seed_fixes_the_speech_and_none_does_not(head):
    def once(seed):
        return samples(list(say(head.open(seed, Cancel()), "Say this once more.")))

    assert np.array_equal(once(6), once(6))
    assert not np.array_equal(once(6)[:2000], once(7)[:2000])
    assert not np.array_equal(once(None)[:2000], once(None)[:2000])


def test_many_at_once_are_each_as_if_alone(head):
    texts = [REPLY, "Something else, said by another.", "好的，我来介绍一下。首先，今天天气不错！"]
    alone = [samples(list(say(head.open(seed, Cancel()), text))) for seed, text in enumerate(texts)]

    def steps(seed, text):
        stream = head.open(seed, Cancel())
        yield from stream.steps(text)
        yield from stream.last_steps()

    running = {seed: steps(seed, text) for seed, text in enumerate(texts)}
    made = {seed: [] for seed in running}
    while running:
        for seed in list(running):
            try:
                made[seed].append(next(running[seed]))
            except StopIteration:
                del running[seed]
    together = [samples(list(filter(None, made[seed]))) for seed in made]
    assert all(map(np.array_equal, together, alone))


def test_a_cancel_stops_within_a_step(head, monkeypatch):
    cancel = Cancel()
    stream = head.open(8, cancel)
    steps = stream.steps(REPLY)
    for _ in range(5):
        next(steps)
    made = []
    step = head.decoder.step
    monkeypatch.setattr(head.decoder, "step", lambda *given: made.append(1) or step(*given))
    cancel.set()
    with pytest.raises(CancelledError):
        next(steps)
    assert not made
    with pytest.raises(CancelledError):
        list(stream.finish())


def test_what_a_reply_held_is_free_when_it_is_dropped(head):
    def caches():
        gc.collect()
        return sum(type(thing) is DynamicCache for thing in gc.get_objects())

    before = caches()
    stream = head.open(9, Cancel())
    steps = stream.steps(REPLY)
    next(steps)
    assert caches() == before + 1
    del stream, steps
    assert caches() == before


def test_the_first_piece_comes_sooner_than_the_others(head):
    def until_sound(options):
        steps = head.open(10, Cancel(), options).steps(REPLY)
        return next(number for number, made in enumerate(steps) if made)

    soon, late = until_sound(Options()), until_sound(Options(first=LATER))
    assert soon == 29
    assert late > soon


def test_only_the_first_unit_is_in_a_hurry(tmp_path, monkeypatch):
    head = load(make(tmp_path, hidden=HIDDEN, eager=-100))
    decode, sizes = head.codec.decode, []
    monkeypatch.setattr(
        head.codec, "decode", lambda codes: sizes.append(len(codes)) or decode(codes)
    )
    text = "This is the first of them. And here is another one."
    list(say(head.open(18, Cancel(), Options(most=60)), text))
    # Chunks of 20 and of 40, with 10 codes after them, and up to 10 before.
    assert sizes == [30, 40, 30, 50, 30]


def test_speech_is_never_held_back_for_long(head):
    """However loud: a random codec knows no quiet place."""
    pieces = list(say(head.open(11, Cancel()), REPLY))
    assert max(audio.seconds for audio, _ in pieces) <= 3
    assert len(pieces) > len([words for _, words in pieces if words])


def test_what_is_no_sound_is_never_drawn(tmp_path):
    head = load(make(tmp_path, hidden=HIDDEN))
    config = head.decoder.config
    for special in (config.begin, config.start, config.pad):
        head.decoder.out_fnn.bias[special] = 100.0
    stream = head.open(12, Cancel())
    assert samples(list(say(stream, "Nothing but sounds.")))[0] is not None
    assert stream.codes


def test_a_voice_that_does_not_end_is_stopped_and_that_is_told(tmp_path):
    head = load(make(tmp_path, hidden=HIDDEN, eager=-100))
    stream = head.open(13, Cancel(), Options(most=50))
    pieces = list(say(stream, "It goes on and on."))
    assert stream.codes == 50
    assert len(samples(pieces)) == 50 * 600 - stream.trimmed
    (notice,) = stream.notices
    assert "It goes on and on." in notice
    assert "1 seconds" in notice


def test_a_voice_that_says_nothing_is_told(tmp_path):
    head = load(make(tmp_path, hidden=HIDDEN, eager=100))
    stream = head.open(14, Cancel())
    assert list(say(stream, "Hello there you.")) == []
    assert "Hello there you." in stream.notices[0]


@pytest.mark.parametrize("text", ["", "☟", "   \n", "…", "<|im_end|>"])
def test_nothing_to_say_is_no_speech(head, text):
    stream = head.open(15, Cancel())
    assert list(say(stream, text)) == []
    assert stream.notices == []


def test_half_precision_speaks_too(folder):
    head = load(folder, dtype=torch.bfloat16)
    assert head.decoder.dtype == torch.bfloat16
    assert head.codec.generator.conv_pre.weight.dtype == torch.float32
    stream = head.open(16, Cancel())
    assert len(samples(list(say(stream, "In half precision.")))) > 600


def test_a_chunk_without_a_quiet_place_is_held_no_longer_than_patience():
    loud = np.full(12_000, 0.5, np.float32)
    loud[::2] = -0.5
    pieces = Pieces(Pacing(20, 0.1, patience=1))
    assert not len(pieces.push(loud))
    assert len(pieces.push(loud)) > 12_000
    assert not len(pieces.push(loud))
    forever = Pieces(Pacing(20, 0.1))
    assert not any(len(forever.push(loud)) for _ in range(5))
    assert len(forever.finish(loud)) == 6 * 12_000


def test_a_cut_lies_within_the_quietest_window():
    chunk = np.full(24_000, 0.4, np.float32)
    chunk[18_000:20_500] = 0.01
    chunk[19_000] = 0.001
    chunk[22_000] = 0.0
    whole = Pieces(Pacing(40, 0.1))
    assert len(whole.push(chunk)) == 19_000
    slipped = Pieces(Pacing(40, 0.1), slip=True)
    assert len(slipped.push(chunk)) == 22_000
