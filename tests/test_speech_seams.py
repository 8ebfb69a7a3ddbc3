import numpy as np
import pytest
from hibari import Hibari

from speech.pcm import Audio, concatenate, silence
from speech.seams import PAUSES, pause_after, seam_jump, trim

RATE = 24_000
CLAUSES = [
    "Yes, I can help with that.",
    "The cats.",
    "It is a half",
    "It took months.",
    "He left the path,",
    "Fish and chips.",
    "A piece of cloth;",
    "Six.",
    "What is it?",
    "Ssh!",
    "I hope",
    "and then it stopped.",
]


def say(clause):
    voice = say.__dict__.setdefault("voice", Hibari())
    return Audio(voice(clause, seed=0), RATE)


@pytest.fixture(scope="module")
def spoken():
    return [say(clause) for clause in CLAUSES]


def test_silence_goes_and_speech_stays(spoken):
    for audio in spoken:
        cut = trim(audio)
        assert audio.seconds - cut.seconds > 0.4
        lost = np.sum(audio.samples**2) - np.sum(cut.samples**2)
        assert lost < 1e-5 * np.sum(audio.samples**2)


def frames(samples, size=120):
    return 10 * np.log10(np.mean(samples[: len(samples) // size * size].reshape(-1, size) ** 2, 1))


@pytest.mark.parametrize("clause", CLAUSES)
def test_soft_endings_are_not_cut(clause):
    """No 5 ms that are louder than 40 dB below the loudest lie outside of what is kept."""
    audio = say(clause)
    cut = trim(audio)
    inner = cut.samples[200:-200]
    start = next(
        at - 200
        for at in np.flatnonzero(audio.samples == inner[0])
        if np.array_equal(audio.samples[at : at + len(inner)], inner)
    )
    level = frames(audio.samples + 1e-9)
    loud = np.flatnonzero(level > level.max() - 40) * 120
    assert start <= loud[0]
    assert loud[-1] + 120 <= start + len(cut)


def test_edges_are_silent(spoken):
    for audio in spoken:
        cut = trim(audio).samples
        assert cut[0] == 0
        assert abs(cut[-1]) < 1e-4
        assert np.abs(cut[:120]).max() < 0.02


def test_a_reply_is_a_seamless_chain(spoken):
    parts, seams = [], []
    length = 0
    for clause, audio in zip(CLAUSES, spoken, strict=True):
        part = trim(audio)
        pause = silence(pause_after(clause), RATE)
        parts += [part, pause]
        seams += [length + len(part), length + len(part) + len(pause)]
        length += len(part) + len(pause)
    reply = concatenate(parts)
    ordinary = np.percentile(
        [seam_jump(spoken[0], at) for at in range(RATE // 2, RATE * 3 // 2, 7)], 95
    )
    jumps = [seam_jump(reply, at) for at in seams[:-1]]
    print(f"largest seam jump {max(jumps):.3f}, ordinary speech (95 %) {ordinary:.2f}")
    assert max(jumps) < ordinary
    assert max(jumps) < 0.1


def test_seam_jump_finds_a_click():
    audio = say(CLAUSES[0])
    loud = int(np.argmax(np.abs(audio.samples)))
    clicked = concatenate(
        [Audio(audio.samples[: loud + 1], RATE), Audio(-audio.samples[loud:], RATE)]
    )
    assert seam_jump(clicked, loud + 1) > 2


def test_speech_up_to_the_edge_keeps_its_length_and_gets_a_fade():
    """So that it can be joined to silence."""
    time = np.arange(RATE) / RATE
    tone = Audio((0.3 * np.cos(2 * np.pi * 200 * time)).astype(np.float32), RATE)
    trimmed = trim(tone)
    assert len(trimmed) == len(tone)
    assert abs(trimmed.samples[0]) < 1e-3 and abs(trimmed.samples[-1]) < 1e-3
    inside = slice(RATE // 100, -RATE // 100)
    assert np.array_equal(trimmed.samples[inside], tone.samples[inside])


def test_the_input_is_not_changed(spoken):
    before = spoken[0].samples.copy()
    trim(spoken[0])
    assert np.array_equal(spoken[0].samples, before)


@pytest.mark.parametrize("audio", [silence(0, RATE), silence(1, RATE), silence(0.001, RATE)])
def test_silence_is_trimmed_to_nothing(audio):
    assert len(trim(audio)) == 0
    noise = np.random.default_rng(0).normal(0, 1e-6, RATE).astype(np.float32)
    assert len(trim(Audio(noise, RATE))) == 0


def test_trimming_twice_changes_little(spoken):
    once = trim(spoken[0])
    assert trim(once).seconds == pytest.approx(once.seconds, abs=0.011)


def test_less_silence_can_be_left_before_a_reply(spoken):
    for clause in spoken:
        sooner, usual = trim(clause, lead=0.008), trim(clause)
        assert usual.seconds - sooner.seconds == pytest.approx(0.012, abs=1e-3)
        rest = usual.samples[-len(sooner) :]
        assert np.abs(rest[480:] - sooner.samples[480:]).max() == 0, "the end is as it was"
        assert np.abs(rest - sooner.samples).max() < 0.01, "nothing is lost but silence"


@pytest.mark.parametrize(
    ("clause", "kind"),
    [
        ("Yes,", "comma"),
        ("你好，", "comma"),
        ("Like this:", "clause"),
        ("this;", "clause"),
        ("Done.", "sentence"),
        ("Done? ", "sentence"),
        ('He said "no."', "sentence"),
        ("好。", "sentence"),
        ("Item one\n", "line"),
        ("Item one.\n", "line"),
        ("The end.\n\n", "paragraph"),
    ],
)
def test_pauses(clause, kind):
    assert pause_after(clause) == PAUSES[kind]


def test_pauses_grow_with_the_break():
    assert 0 < pause_after("the cat") < min(PAUSES.values())
    assert pause_after("") < 0.1
    assert sorted(PAUSES.values(), reverse=True) == list(PAUSES.values())
