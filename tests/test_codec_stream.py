"""Our own streaming: positions, seams, noise, state, voices; and what is refused."""

import gc
import weakref

import numpy as np
import pytest
import torch
from codec_golden import DECODER

from codec.decoder import SpeechDecoder
from codec.noise import FrameNoise
from codec.stream import StreamPlan
from codec.voice import Voice
from errors import CancelledError, EngineError, InputError
from speech.pcm import Audio, concatenate


@pytest.fixture(scope="module")
def decoder():
    return SpeechDecoder.load(DECODER)


def codes_of(decoder, count, seed=0):
    vocabulary = decoder.models.config.flow.vocabulary
    return np.random.default_rng(seed).integers(0, vocabulary, count).tolist()


def streamed(decoder, codes, sizes=(5,), **given):
    """The pieces a stream gives when codes are pushed in groups of these sizes, in turn."""
    stream, pieces, at, turn = decoder.open(**given), [], 0, 0
    while at < len(codes):
        size = sizes[turn % len(sizes)]
        pieces.append(stream.push(codes[at : at + size]))
        at, turn = at + size, turn + 1
    return [*pieces, stream.finish()]


@pytest.mark.parametrize("count", [1, 2, 5, 7, 8, 9, 10, 32, 33, 34, 64, 100, 128, 192])
def test_total_is_what_the_codes_demand(decoder, count):
    codes = codes_of(decoder, count)
    whole = decoder.decode(codes, steps=1)
    plan = StreamPlan(steps=(1,))
    audio = concatenate(streamed(decoder, codes, plan=plan))
    assert len(audio) == len(whole) == decoder.samples(count)
    # The reference counts in float32; so many codes are this many frames of 256 samples.
    assert len(audio) == 256 * int(np.float32(count) / np.float32(12.5) * 22050 / 256)
    assert audio.rate == whole.rate == 22_050


def test_reply_without_codes(decoder):
    assert len(decoder.open().finish()) == 0
    assert len(decoder.decode([])) == 0


@pytest.mark.parametrize("first", [8, 9, 10])
def test_first_sound_comes_with_the_first_codes(decoder, first):
    stream = decoder.open(plan=StreamPlan(first=first))
    codes = codes_of(decoder, first)
    assert len(stream.push(codes[:-1])) == 0
    assert stream.push(codes[-1:]).seconds > 0.4


def test_pushes_do_not_matter(decoder):
    """The speech depends on the codes, not on how they come."""
    codes = codes_of(decoder, 90)
    one, *others = (
        concatenate(streamed(decoder, codes, sizes)).samples
        for sizes in ((90,), (1,), (3, 17, 1), (10,))
    )
    for other in others:
        assert np.array_equal(one, other)


def test_seed_decides(decoder):
    codes = codes_of(decoder, 40)
    one, same, other = (
        concatenate(streamed(decoder, codes, seed=seed)).samples for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-2)


def test_nothing_global_is_drawn(decoder):
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    streamed(decoder, codes_of(decoder, 20))
    decoder.decode(codes_of(decoder, 9))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_noise_belongs_to_the_frame():
    noise = FrameNoise(seed=7, purpose=0, width=5)
    whole = noise.at(-70, 300)
    for first, last in ((-70, -3), (-3, 64), (63, 65), (64, 128), (299, 300), (10, 10)):
        assert torch.equal(noise.at(first, last), whole[first + 70 : last + 70])
    assert not torch.equal(FrameNoise(7, 1, 5).at(0, 9), noise.at(0, 9))
    assert abs(float(FrameNoise(7, 0, 80).at(0, 6400).std()) - 1) < 0.01


def test_first_piece_is_that_of_the_whole(decoder):
    """Where the stream saw what one call sees, it made the same samples."""
    count = 8
    codes = codes_of(decoder, count)
    plan = StreamPlan(first=count, first_hold=2, steps=(10,))
    first = decoder.open(plan=plan).push(codes)
    whole = decoder.decode(codes)
    frames = decoder.models.clock.frames(count - 2)
    assert len(first) == 256 * frames
    np.testing.assert_allclose(first.samples, whole.samples[: len(first)], atol=2e-4)


def test_one_piece_is_one_call(decoder):
    """A reply that fits the first piece differs from one call by nothing but rounding."""
    codes = codes_of(decoder, 30)
    plan = StreamPlan(first=100, steps=(10,))
    audio = concatenate(streamed(decoder, codes, plan=plan))
    # One call stretches codes to frames as the reference does, a stream by absolute frame.
    frames = decoder.models.clock.codes_at(0, decoder.models.clock.frames(30))
    assert int(frames[-1]) == 29
    whole = decoder.decode(codes)
    assert len(audio) == len(whole)
    assert np.corrcoef(audio.samples, whole.samples)[0, 1] > 0.5


def jump(samples, place):
    """The largest step between neighbouring samples at a place."""
    return float(np.abs(np.diff(samples[place - 2 : place + 2])).max())


@pytest.mark.parametrize("seed", range(4))
def test_no_seam_is_a_jump(decoder, seed):
    codes = codes_of(decoder, 150, seed)
    pieces = [p for p in streamed(decoder, codes, (25,), seed=seed) if len(p)]
    samples = concatenate(pieces).samples
    ends = np.cumsum([len(piece) for piece in pieces])[:-1]
    hop = decoder.models.clock.hop
    # A seam is where one piece ends, and where its cross-fade into the next one does.
    seams = [jump(samples, place) for end in ends for place in (end, end + hop)]
    inside = np.abs(np.diff(samples))
    for end in ends:
        inside[end - hop : end + 2 * hop] = 0
    assert len(ends) >= 5
    assert max(seams) <= inside.max()
    # Sharper than the largest: like what is usual.
    assert np.median(seams) <= np.percentile(inside[inside > 0], 95)


def test_state_does_not_grow(decoder):
    stream = decoder.open(plan=StreamPlan(steps=(1,), memory=40))
    sizes = []
    for code in codes_of(decoder, 500):
        if len(stream.push([code])):
            state = stream._state
            tensors = (state.mel, state.held, state.excitation, state.tail)
            sizes.append(sum(t.untyped_storage().nbytes() for t in tensors) + 8 * len(state.codes))
    assert len(sizes) > 15
    assert max(sizes[8:]) <= max(sizes[4:8]) * 1.02


def test_windows_do_not_grow(decoder, monkeypatch):
    """What the estimator gets is bounded, and of few shapes."""
    widths = []
    estimator = decoder.models.flow.decoder.estimator
    original = estimator.forward

    def watched(x, time):
        widths.append(x.shape[2])
        return original(x, time)

    monkeypatch.setattr(estimator, "forward", watched)
    streamed(decoder, codes_of(decoder, 408), plan=StreamPlan(steps=(1,)))
    assert len(widths) == 17
    assert len(set(widths[2:])) == 1
    assert max(widths) < 2 * 25 * 6.9


def test_dropping_a_stream_frees_it(decoder):
    stream = decoder.open()
    stream.push(codes_of(decoder, 40))
    mel = weakref.ref(stream._state.mel)
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None and mel() is None


def test_streams_side_by_side(decoder):
    one, other = codes_of(decoder, 60, 1), codes_of(decoder, 60, 2)
    alone = [concatenate(streamed(decoder, codes)).samples for codes in (one, other)]
    streams, parts = [decoder.open(), decoder.open()], [[], []]
    for at in range(0, 60, 5):
        for index, codes in enumerate((one, other)):
            parts[index].append(streams[index].push(codes[at : at + 5]))
    for index in range(2):
        parts[index].append(streams[index].finish())
        assert np.array_equal(concatenate(parts[index]).samples, alone[index])


def a_voice(decoder, codes=20, seed=3):
    random = np.random.default_rng(seed)
    config = decoder.models.config.flow
    return Voice(
        codes=random.integers(0, config.vocabulary, codes),
        mel=random.standard_normal((config.mels, decoder.models.clock.frames(codes))).astype("f4"),
        embedding=random.standard_normal(config.speaker_width).astype("f4"),
    )


def test_every_part_of_a_voice_arrives(decoder):
    """The reference drops them on the way."""
    codes, voice = codes_of(decoder, 40), a_voice(decoder)
    parts = {
        "none": None,
        "embedding": Voice(embedding=voice.embedding),
        "prompt": Voice(codes=voice.codes, mel=voice.mel),
        "both": voice,
        "other mel": Voice(codes=voice.codes, mel=voice.mel + 1),
        "other codes": Voice(codes=voice.codes[::-1].copy(), mel=voice.mel),
    }
    for render in (
        lambda v: decoder.decode(codes, v),
        lambda v: concatenate(streamed(decoder, codes, voice=v)),
    ):
        made = {name: render(part) for name, part in parts.items()}
        assert {len(audio) for audio in made.values()} == {decoder.samples(40)}
        names = list(made)
        for index, name in enumerate(names):
            for other in names[:index]:
                assert not np.allclose(made[name].samples, made[other].samples, atol=1e-3), (
                    name,
                    other,
                )


def test_long_voice_prompt_is_bounded(decoder, monkeypatch):
    widths = []
    estimator = decoder.models.flow.decoder.estimator
    original = estimator.forward

    def watched(x, time):
        widths.append(x.shape[2])
        return original(x, time)

    monkeypatch.setattr(estimator, "forward", watched)
    plan = StreamPlan(steps=(1,))
    pieces = streamed(decoder, codes_of(decoder, 60), voice=a_voice(decoder, 400), plan=plan)
    assert len(concatenate(pieces)) == decoder.samples(60)
    assert max(widths) < (plan.prompt + 40) * 6.9


def test_prompt_and_mel_of_unequal_length_are_cut_to_what_both_cover(decoder):
    voice = a_voice(decoder)
    longer = np.concatenate((voice.mel, np.ones((80, 50), np.float32)), axis=1)
    for given in (Voice(voice.codes, longer), Voice(voice.codes, voice.mel[:, :40])):
        assert len(decoder.decode(codes_of(decoder, 10), given)) == decoder.samples(10)


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ({"codes": np.arange(3)}, "both codes and mel"),
        ({"mel": np.zeros((80, 9), np.float32)}, "both codes and mel"),
        ({"codes": np.arange(0), "mel": np.zeros((80, 9), np.float32)}, "not empty"),
        ({"codes": np.arange(3), "mel": np.zeros((80, 0), np.float32)}, "not empty"),
        ({"codes": np.arange(3), "mel": np.full((80, 20), np.nan, np.float32)}, "mel .* finite"),
        ({"codes": np.arange(3), "mel": np.zeros((79, 20), np.float32)}, "79 bins"),
        ({"codes": np.array([10**6]), "mel": np.zeros((80, 20), np.float32)}, "1000000"),
        ({"embedding": np.full(192, np.inf, np.float32)}, "speaker embedding .* finite"),
        ({"embedding": np.zeros(191, np.float32)}, "191"),
    ],
)
def test_bad_voices(decoder, voice, message):
    with pytest.raises(InputError, match=message):
        decoder.open(Voice(**voice))


@pytest.mark.parametrize(
    ("codes", "message"),
    [([-1], "-1"), ([10**9], "1000000000"), ([1.5], "whole"), ([True], "whole"), ([], "Nothing")],
)
def test_bad_codes_leave_the_stream_as_it_is(decoder, codes, message):
    good = codes_of(decoder, 30)
    stream = decoder.open()
    first = stream.push(good[:9])
    with pytest.raises(InputError, match=message):
        stream.push(codes)
    audio = concatenate([first, stream.push(good[9:]), stream.finish()])
    assert np.array_equal(audio.samples, concatenate(streamed(decoder, good)).samples)
    for call in (stream.finish, lambda: stream.push(good)):
        with pytest.raises(InputError, match="over"):
            call()


def test_codes_of_any_kind(decoder):
    codes = codes_of(decoder, 12)
    one = decoder.decode(codes).samples
    for same in (tuple(codes), np.array(codes), torch.tensor(codes)):
        assert np.array_equal(decoder.decode(same).samples, one)


@pytest.mark.parametrize(
    "plan",
    [{"first": 2}, {"hold": 25}, {"steps": ()}, {"steps": (0,)}, {"hold": 0}, {"memory": -1}],
)
def test_bad_plans(plan):
    with pytest.raises(InputError):
        StreamPlan(**plan)


@pytest.mark.parametrize("plan", [{"memory": 0}, {"context": 1, "memory": 0, "hold": 1}])
def test_small_plans(decoder, plan):
    codes = codes_of(decoder, 200)
    pieces = streamed(decoder, codes, plan=StreamPlan(steps=(1,), **plan))
    assert len(concatenate(pieces)) == decoder.samples(200)


@pytest.mark.parametrize(
    ("part", "name", "what"),
    [("flow", "encoder_proj.bias", "mel"), ("vocoder", "conv_post.bias", "samples")],
)
def test_values_that_are_not_finite_end_the_stream(part, name, what):
    broken = SpeechDecoder.load(DECODER)
    bias = getattr(broken.models, part).get_parameter(name)
    with torch.no_grad():
        bias[0] = torch.nan
    with pytest.raises(EngineError, match=f"{what} that are not finite"):
        broken.decode([1, 2, 3])
    stream = broken.open()
    with pytest.raises(EngineError, match=f"{what} that are not finite"):
        stream.push(codes_of(broken, 8))
    with pytest.raises(InputError, match="over"):
        stream.finish()


def test_work_can_be_stopped_between_steps(decoder):
    """By whoever wants the reply no more; another one is not touched."""
    steps = []

    def check():
        steps.append(1)
        if len(steps) == 3:
            raise CancelledError("enough")

    stream = decoder.open()
    with pytest.raises(CancelledError):
        stream.push(codes_of(decoder, 100), check)
    assert len(steps) == 3
    with pytest.raises(InputError, match="over"):
        stream.finish()
    steps.clear()
    with pytest.raises(CancelledError):
        decoder.decode(codes_of(decoder, 9), check=check)
    assert len(decoder.decode(codes_of(decoder, 9))) == decoder.samples(9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(decoder, dtype):
    half = SpeechDecoder.load(DECODER, dtype=dtype)
    assert half.models.flow.dtype == dtype
    assert {p.dtype for p in half.models.vocoder.parameters()} == {torch.float32}
    codes = codes_of(decoder, 40)
    exact, rough = (concatenate(streamed(d, codes)) for d in (decoder, half))
    assert isinstance(rough, Audio) and len(rough) == len(exact)
    assert np.corrcoef(exact.samples, rough.samples)[0, 1] > 0.5


def test_unknown_precision():
    with pytest.raises(InputError, match="float64"):
        SpeechDecoder.load(DECODER, dtype=torch.float64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: graphs are allowed")
def test_graphs_need_a_gpu():
    with pytest.raises(InputError, match="CUDA"):
        SpeechDecoder.load(DECODER, acceleration="graphs")
