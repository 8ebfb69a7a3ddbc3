"""The gate before a human voice is kept: its owner says so, here and now.

The speaker reads a sentence that did not exist a minute ago. Our recognizer must hear
its words, and a speaker encoder must find the voice of the reference in it. This shows
that the person is there and willing; it cannot tell a perfect imitation from a person.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from errors import InputError
from voices.challenge import NEEDED, SENTENCE_LIKENESS, likeness, sentence_for, words_heard
from voices.names import plain_text

#: Time to read a sentence and record it, seconds.
EXPIRES = 300.0
#: Attempts at one sentence: noise and slips happen, guessing must not pay.
ATTEMPTS = 3
#: Sentences that wait to be read, over all sessions; the oldest go first.
MOST_PENDING = 1000
LONGEST_LOGIN = 200
#: What is kept of what was heard, characters; sentences have about 80.
LONGEST_HEARD = 400
#: Cosine similarity of Resemblyzer embeddings from which two recordings are taken for one
#: speaker. Of the pairs measured for `speech.speaker`, no two people reached more (median
#: .53, 95 % below .67), and 95 % of the parts of one recording are above .82; one speaker on
#: another day or microphone is expected at .75-.85, so the margin goes to the speaker who is
#: asked to read again, not to the impostor.
SAME_SPEAKER = 0.75


@dataclass(frozen=True, slots=True)
class Consent:
    """The record of a consent, kept with the voice.

    Attributes:
        given: When, ISO 8601, UTC.
        sentence: What was to be read.
        heard: What the recognizer heard.
        match: Likeness of the two, 0 to 1.
        similarity: Of the speakers of the sentence and of the reference, cosine, -1 to 1.
        by: Login of who gave it, or "anonymous".
        voice: Content hash of the reference it was given for.
        version: Of Parley.
    """

    given: str
    sentence: str
    heard: str
    match: float
    similarity: float
    by: str
    voice: str
    version: str

    @property
    def day(self) -> str:
        """When it was given, for people."""
        return datetime.fromisoformat(self.given).strftime("%d %B %Y").lstrip("0")


class ConsentRefusedError(InputError):
    """What was read does not count as consent; the message says which part failed."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A sentence to read aloud.

    Attributes:
        id: Unguessable; names the challenge when the recording is handed in.
        session: Whose it is.
        voice: Content hash of the reference it is for.
        sentence: What to read.
        words: The words in it that were drawn.
        expires: Monotonic time, seconds.
        attempts: How many are left.
    """

    id: str
    session: str
    voice: str
    sentence: str
    words: tuple[str, ...]
    expires: float
    attempts: int = ATTEMPTS


class ConsentGate:
    """Asks for consent and judges it; threads may share it.

    Args:
        version: Of Parley, for the record.
        same_speaker: Least similarity of the two recordings.
        clock: Monotonic time, seconds.
        now: The time of day, for the sentence and the record.
    """

    def __init__(
        self,
        version: str,
        *,
        same_speaker: float = SAME_SPEAKER,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._version = version
        self._same_speaker = same_speaker
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._pending: dict[str, Challenge] = {}

    def challenge(self, session: str, voice: str) -> Challenge:
        """A new sentence; the one that this session had before is void.

        Args:
            session: Who will read it.
            voice: `content_hash` of the reference that is to be kept.
        """
        sentence, words = sentence_for(self._now().date())
        new = Challenge(
            secrets.token_urlsafe(16), session, voice, sentence, words, self._clock() + EXPIRES
        )
        with self._lock:
            now = self._clock()
            kept = [
                old
                for old in self._pending.values()
                if old.session != session and old.expires > now
            ]
            self._pending = {old.id: old for old in (*kept[-MOST_PENDING + 1 :], new)}
        return new

    def check(
        self,
        challenge: str,
        session: str,
        voice: str,
        *,
        heard: str,
        similarity: float,
        by: str = "",
    ) -> Consent:
        """Judge a reading; a challenge that led to a consent is used up.

        Args:
            challenge: Its id.
            session: Who read it.
            voice: `content_hash` of the reference that is to be kept.
            heard: What our recognizer heard.
            similarity: Of the speakers of the reading and of the reference, -1 to 1.
            by: Login; empty is "anonymous".

        Raises:
            ConsentRefusedError: If it is no consent; the message says why and what to do.
        """
        pending = self._attempt(challenge, session, voice)
        match = likeness(pending.sentence, heard)
        self._judge(pending, heard, match, similarity)
        with self._lock:
            # Of two readings at the same moment, one gets the consent.
            if self._pending.pop(challenge, None) is None:
                raise ConsentRefusedError(_UNKNOWN)
        return Consent(
            given=self._now().astimezone(UTC).isoformat(timespec="seconds"),
            sentence=pending.sentence,
            heard=plain_text(heard[:LONGEST_HEARD], 4 * LONGEST_HEARD, "What was heard"),
            match=round(match, 3),
            similarity=round(similarity, 3),
            by=plain_text(by, LONGEST_LOGIN, "The login") or "anonymous",
            voice=voice,
            version=self._version,
        )

    def _attempt(self, challenge: str, session: str, voice: str) -> Challenge:
        """Count one attempt at a challenge."""
        with self._lock:
            pending = self._pending.get(challenge)
            if pending is None or not secrets.compare_digest(
                pending.session.encode(), session.encode()
            ):
                raise ConsentRefusedError(_UNKNOWN)
            if pending.expires <= self._clock():
                del self._pending[challenge]
                raise ConsentRefusedError(
                    f"This sentence was good for {EXPIRES / 60:.0f} minutes, which are over."
                    " Ask for a new one and read that."
                )
            if pending.voice != voice:
                raise ConsentRefusedError(
                    "The reference has changed since this sentence was made."
                    " Ask for a new one and read that."
                )
            if not pending.attempts:
                del self._pending[challenge]
                raise ConsentRefusedError(
                    f"This sentence was tried {ATTEMPTS} times. Ask for a new one."
                )
            self._pending[challenge] = replace(pending, attempts=pending.attempts - 1)
            return pending

    def _judge(self, pending: Challenge, heard: str, match: float, similarity: float) -> None:
        if not heard.strip():
            raise ConsentRefusedError(
                "No words were heard. Read the sentence aloud, close to the microphone."
            )
        found = words_heard(pending.words, heard)
        if match < SENTENCE_LIKENESS or found < NEEDED:
            raise ConsentRefusedError(
                f"The words do not match: heard was “{heard.strip()[:200]}”"
                f" ({match:.0%} like the sentence, {SENTENCE_LIKENESS:.0%} are needed;"
                f" {found} of the {len(pending.words)} last words, {NEEDED} are needed)."
                " Read exactly the sentence that is shown, slowly."
            )
        # Written so that a similarity that is no number is refused too.
        if not (math.isfinite(similarity) and similarity >= self._same_speaker):
            raise ConsentRefusedError(
                "The words match, but this does not sound like the speaker of the reference"
                f" (similarity {similarity:.2f}, at least {self._same_speaker:.2f} is needed)."
                " The speaker of the reference must read the sentence, best with the same"
                " microphone and no noise around."
            )


_UNKNOWN = (
    "This sentence is not waiting to be read here: it was used, replaced by a newer one,"
    " or made for somebody else. Ask for a new one and read that."
)
