"""What the voices tab says of recordings, engines and voices, as HTML."""

from html import escape

from engines.base import EngineInfo, ReferenceUse
from speech.level import duration_text, level_text
from speech.pcm import Audio
from speech.reference import CLIPPED, NARROW_HZ, NOISY_SNR_DB, SOFT_LEVEL_DB, Excerpt, Quality
from voices.record import StoredVoice

#: Shown next to the reference, so that nobody takes one for the other.
USES: dict[ReferenceUse | None, str] = {
    "clone": "<b>Clones.</b> {engine} speaks in the voice of the reference. "
    "How close it came, the bar under the result tells.",
    "prompt": "<b>Prompts only, no clone.</b> The reference tells {engine} how to write and "
    "phrase; the sound of the voice stays its own.",
    "match": "<b>Matches, no clone.</b> {engine} speaks with its own voice, whose pitch, formants "
    "and spectrum are moved towards the reference. It comes nearer; it does not become "
    "that person.",
    None: "<b>Takes no reference.</b> {engine} speaks in its own voices only. "
    "Choose another engine above.",
}


def shown(text: str) -> str:
    """Text of people as HTML; curly brackets are what Gradio's templates are made of."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;")


def use(info: EngineInfo) -> str:
    """What an engine makes of a reference."""
    words = USES[info.reference].format(engine=shown(info.title))
    return f'<p class="voice-use voice-use-{info.reference or "none"}">{words}</p>'


def notice(text: str, kind: str = "problem") -> str:
    """A line that is read out when it appears; `kind` is problem, good or waiting."""
    lines = "<br>".join(shown(text).splitlines())
    return f'<p class="voice-notice voice-{kind}" role="status">{lines}</p>' if text else ""


def report(recording: Audio, excerpt: Excerpt, quality: Quality, notes: tuple[str, ...]) -> str:
    """The quality of a recording, with what would make it better."""
    figures = (
        ("Speech", duration_text(quality.speech), "What is left without the pauses", True),
        ("Level", level_text(quality.level), "Of the speech", quality.level >= SOFT_LEVEL_DB),
        (
            "Clipping",
            f"{quality.clipped:.1%}" if quality.clipped else "none",
            "Share of the samples that are cut off at full scale",
            quality.clipped <= CLIPPED,
        ),
        (
            "Speech over noise",
            f"{quality.snr:.0f} dB",
            "How far the speech lies above what is heard in its pauses",
            quality.snr >= NOISY_SNR_DB,
        ),
        (
            "Bandwidth",
            f"{quality.bandwidth / 1000:.1f} kHz",
            "The highest frequency that is there; telephones end at 3.4 kHz",
            quality.bandwidth >= NARROW_HZ,
        ),
        (
            "Speakers",
            "one, likely" if quality.one_speaker else "perhaps two",
            f"Its most different parts are {quality.alike:.2f} alike",
            quality.one_speaker,
        ),
    )
    rows = "".join(
        f'<div class="voice-{"fine" if fine else "poor"}" title="{meaning}">'
        f"<dt>{name}</dt><dd>{value}</dd></div>"
        for name, value, meaning, fine in figures
    )
    advice = "".join(f"<li>{shown(line)}</li>" for line in (*quality.advice, *notes))
    used = (
        f"Used: {excerpt.start:.1f} to {excerpt.end:.1f} s of {duration_text(recording.seconds)}, "
        "the part with the most clear speech."
    )
    verdict = "Good enough to use." if quality.advice else "A good reference."
    return (
        f'<p class="voice-verdict" role="status">{verdict} {used}</p>'
        f'<dl class="voice-figures">{rows}</dl>'
        f"{f'<ul class=voice-advice>{advice}</ul>' if advice else ''}"
    )


def facts(voice: StoredVoice) -> str:
    """A voice of the library in one paragraph."""
    record = voice.record
    parts = [record.description, duration_text(record.seconds), record.consent_note]
    return f"<p>{' · '.join(shown(part) for part in parts if part)}</p>"
