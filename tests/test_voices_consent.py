"""The consent gate: sentences, their reading, and what is refused."""

import dataclasses
import threading
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Cancel
from engines.messages import AudioChunk, Transcript
from speech.pcm import concatenate
from voices.challenge import (
    DRAWN,
    NEEDED,
    SENTENCE_LIKENESS,
    WORDS,
    likeness,
    sentence_for,
    words_heard,
)
from voices.consent import ATTEMPTS, EXPIRES, SAME_SPEAKER, Consent, ConsentGate
from voices.consent import ConsentRefusedError as Refused

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(name="clock")
def clock_fixture():
    return Clock()


@pytest.fixture(name="gate")
def gate_fixture(clock):
    return ConsentGate("0.1.0", clock=clock, now=lambda: NOON)


def read(gate, challenge, heard=None, similarity=0.8, session="s", voice="v", **values):
    heard = challenge.sentence if heard is None else heard
    return gate.check(challenge.id, session, voice, heard=heard, similarity=similarity, **values)


def test_a_good_reading_is_a_consent(gate):
    challenge = gate.challenge("s", "v")
    heard = challenge.sentence.lower().replace("november twentieth", "November 20th").strip(".")
    consent = read(gate, challenge, heard, by="anna")
    assert consent == Consent(
        given="2026-11-20T12:00:00+00:00",
        sentence=challenge.sentence,
        heard=heard,
        match=1.0,
        similarity=0.8,
        by="anna",
        voice="v",
        version="0.1.0",
    )
    assert consent.day == "20 November 2026"
    with pytest.raises(dataclasses.FrozenInstanceError):
        consent.by = "berta"


def test_without_a_login_it_is_anonymous(gate):
    assert read(gate, gate.challenge("s", "v")).by == "anonymous"


def test_sentences_are_fresh():
    sentences = {sentence_for(date(2026, 11, 20))[0] for _ in range(200)}
    assert len(sentences) == 200
    for sentence in sentences:
        assert sentence.startswith("I lend my voice to Parley, on November twentieth: ")


def test_every_day_of_a_month_is_read_and_heard():
    for day in range(1, 32):
        sentence, words = sentence_for(date(2026, 12, day))
        suffix = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
        for said in (f"{day}{suffix.get(day, 'th')}", f"{day}"):
            heard = f"I lend my voice to Parley on December {said} {' '.join(words)}"
            assert likeness(sentence, heard) == 1, (sentence, heard)


def test_the_words_are_told_apart():
    assert len(set(WORDS)) == len(WORDS) > 90
    alike = [
        (one, other)
        for one in WORDS
        for other in WORDS
        if one < other and words_heard([one], other)
    ]
    assert alike == [], "a word that is heard for another proves nothing"


@pytest.mark.parametrize(
    ("heard", "count"),
    [
        ("river candle amber tiger", 4),
        ("River, candle. AMBER tiger!", 4),
        ("i lend my voice to river candles amber tigers", 4),
        ("can dle ri ver am ber ti ger", 4),
        ("river candle amber", 3),
        ("liver sandal", 1),
        ("", 0),
        ("安娜 ☃", 0),
    ],
)
def test_words_heard(heard, count):
    assert words_heard(["river", "candle", "amber", "tiger"], heard) == count


@given(st.text(max_size=100))
def test_anything_heard_is_judged(heard):
    sentence, words = sentence_for(date(2026, 2, 28))
    assert 0 <= likeness(sentence, heard) <= 1
    assert 0 <= words_heard(words, heard) <= DRAWN


def test_a_recording_of_another_sentence_is_refused(gate):
    """Somebody has a recording of the speaker's consent of another day."""
    for _ in range(200):
        old, challenge = gate.challenge("t", "v"), gate.challenge("s", "v")
        if words_heard(challenge.words, old.sentence) >= NEEDED:
            continue  # Drawn once in 80,000 times.
        with pytest.raises(Refused, match="The words do not match"):
            read(gate, challenge, old.sentence)


def test_the_words_alone_are_no_consent(gate):
    challenge = gate.challenge("s", "v")
    with pytest.raises(Refused, match="The words do not match"):
        read(gate, challenge, " ".join(challenge.words))


def test_refusals_say_what_failed_and_what_to_do(gate):
    challenge = gate.challenge("s", "v")
    with pytest.raises(Refused, match=r"No words were heard.*close to the microphone"):
        read(gate, challenge, " ")
    challenge = gate.challenge("s", "v")
    with pytest.raises(Refused, match=r"heard was “hello”.*Read exactly the sentence"):
        read(gate, challenge, "hello")
    with pytest.raises(Refused, match=r"not sound like the speaker.*0\.50, at least 0\.75"):
        read(gate, challenge, similarity=0.5)
    assert read(gate, challenge)


@pytest.mark.parametrize("similarity", [SAME_SPEAKER - 0.01, 0, -1, float("nan"), float("-inf")])
def test_another_speaker_is_refused(gate, similarity):
    with pytest.raises(Refused, match="speaker of the reference"):
        read(gate, gate.challenge("s", "v"), similarity=similarity)


def test_infinite_similarity_is_no_similarity(gate):
    with pytest.raises(Refused):
        read(gate, gate.challenge("s", "v"), similarity=float("inf"))


def test_a_sentence_is_good_once(gate):
    challenge = gate.challenge("s", "v")
    read(gate, challenge)
    with pytest.raises(Refused, match="it was used"):
        read(gate, challenge)


def test_of_two_readings_at_once_one_counts(gate):
    challenge = gate.challenge("s", "v")
    barrier = threading.Barrier(2)
    results = []

    def go():
        barrier.wait()
        try:
            results.append(read(gate, challenge))
        except Refused as error:
            results.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == [
        "Consent",
        "ConsentRefusedError",
    ]


def test_of_another_session(gate):
    challenge = gate.challenge("s", "v")
    with pytest.raises(Refused, match="somebody else"):
        read(gate, challenge, session="t")
    assert read(gate, challenge), "a stranger's attempt takes none away"


def test_for_another_reference(gate):
    challenge = gate.challenge("s", "v")
    with pytest.raises(Refused, match="The reference has changed"):
        read(gate, challenge, voice="w")
    assert read(gate, challenge)


def test_expired(gate, clock):
    challenge = gate.challenge("s", "v")
    clock.now += EXPIRES
    with pytest.raises(Refused, match="5 minutes, which are over"):
        read(gate, challenge)
    clock.now -= 1
    with pytest.raises(Refused, match="Ask for a new one"):
        read(gate, challenge)


def test_replaced_by_a_newer_one(gate):
    old, new = gate.challenge("s", "v"), gate.challenge("s", "v")
    with pytest.raises(Refused, match="replaced by a newer one"):
        read(gate, old)
    assert read(gate, new)


def test_attempts_are_counted(gate):
    challenge = gate.challenge("s", "v")
    for _ in range(ATTEMPTS):
        with pytest.raises(Refused, match="do not match"):
            read(gate, challenge, "nothing of the kind")
    with pytest.raises(Refused, match="tried 3 times"):
        read(gate, challenge)


def test_unknown_and_odd_ids(gate):
    for challenge in ("", "x", "é", "\0"):
        with pytest.raises(Refused, match="not waiting"):
            gate.check(challenge, "s", "v", heard="x", similarity=1)


def test_strangers_cannot_fill_the_memory(gate, monkeypatch):
    monkeypatch.setattr("voices.consent.MOST_PENDING", 10)
    first = gate.challenge("first", "v")
    for number in range(10):
        gate.challenge(f"session {number}", "v")
    with pytest.raises(Refused, match="not waiting"):
        read(gate, first, session="first")


def heard(services, text, language):
    """A sentence, spoken by our synthesizer and heard by a recognizer of ours."""
    events = services.speak(text, seed=1, cancel=Cancel())
    speech = concatenate([event.audio for event in events if isinstance(event, AudioChunk)])
    events = services.transcribe(speech, language=language, cancel=Cancel())
    *_, last = [event.text for event in events if isinstance(event, Transcript)]
    return last


@pytest.mark.parametrize("first", range(0, len(WORDS), 4 * DRAWN))
def test_sentences_read_aloud_are_recognized(services, first):
    """Every word of the list, spoken and recognized for real; now and then by Whisper too."""
    words = WORDS[first : first + 4 * DRAWN]
    for start in range(0, len(words), DRAWN):
        drawn = words[start : start + DRAWN]
        sentence, old = sentence_for(date(2026, 11, 1 + (first + start) % 30))
        sentence = sentence.replace(" ".join(old), " ".join(drawn))
        for language in ("en",) if start else ("en", None):
            said = heard(services, sentence, language)
            assert likeness(sentence, said) >= SENTENCE_LIKENESS, (sentence, said)
            assert words_heard(drawn, said) >= min(NEEDED, len(drawn)), (sentence, said)
