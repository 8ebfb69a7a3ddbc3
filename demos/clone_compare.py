"""What came of it, side by side: players that switch at one place, the similarity, the pictures."""

from dataclasses import dataclass

from demos import plots
from demos.clone_take import Take
from demos.clone_words import notice, shown
from engines.base import Cancel
from errors import InputError
from services import Services
from speech.level import duration_text
from speech.speaker import OTHER_SPEAKER, SAME_SPEAKER, meaning, similarity


@dataclass(frozen=True, slots=True, eq=False)
class Takes:
    """The three that are compared; `own` says the same as `result`, in the engine's own voice."""

    reference: Take
    own: Take
    result: Take

    def named(self) -> dict[str, Take]:
        """By what people read, in the order they are shown."""
        return {"Reference": self.reference, "Own voice": self.own, "Result": self.result}


def players(takes: Takes) -> str:
    """A player each, and buttons that switch between them while they play."""
    named = takes.named()
    cells = "".join(
        f'<figure><figcaption>{name} <span class="voice-length">'
        f"{duration_text(take.seconds)}</span></figcaption>"
        # Relative, so that it also works behind a proxy that adds a path.
        f'<audio controls preload="auto" data-side="{number}" aria-label="{name}" '
        f'src="gradio_api/file={shown(str(take.path))}"></audio></figure>'
        for number, (name, take) in enumerate(named.items())
    )
    sides = "".join(
        f'<button type="button" data-switch="{number}" aria-pressed="false">{name}</button>'
        for number, name in enumerate(named)
    )
    return (
        f'<div class="voice-players">{cells}</div>'
        '<div class="voice-sides" role="group" aria-label="Switch while it plays">'
        f"<span>Switch while it plays</span>{sides}</div>"
    )


def findings(services: Services, takes: Takes, cancel: Cancel) -> str:
    """How close it came: similarity and pictures.

    Raises:
        CancelledError: If `cancel` was set.
    """
    try:
        with services.voices.encoder(cancel) as encoder:
            reference, own, result = (
                encoder.embed(take.beginning) for take in takes.named().values()
            )
        bar = similarity_bar(similarity(own, reference), similarity(result, reference))
    except InputError:
        bar = notice("This is too short to measure how alike the voices are. Say a sentence.")
    cancel.check()
    pictures = (
        plots.spectrogram(takes.reference.beginning, "Reference"),
        plots.spectrogram(takes.result.beginning, "Result"),
    )
    contours = plots.pitch_contours(
        {"Reference": takes.reference.beginning, "Result": takes.result.beginning}
    )
    return f'{bar}<div class="voice-plots">{"".join(pictures)}{contours}</div>'


def similarity_bar(own: float, result: float) -> str:
    """Where own voice and result lie between other and same speakers.

    Args:
        own: Similarity of the engine's own voice to the reference, 0 to 1.
        result: Of the result to the reference.
    """
    marks = "".join(
        f'<span class="voice-at voice-at-{kind}" style="left:{100 * value:.1f}%" '
        f'title="{name}: {value:.2f}"></span>'
        for kind, name, value in (("own", "Own voice", own), ("result", "Result", result))
    )
    # Where the reference is (nearly) the engine's own voice, moving it can only do harm.
    worse = " The engine's own voice was nearer: for this reference, use that." * (own > result)
    return (
        '<div class="voice-similarity">'
        f"<p><b>Similarity to the reference: {result:.2f}</b> (own voice: {own:.2f}). "
        f"{meaning(result)}{worse}</p>"
        f'<div class="voice-bar" role="img" aria-label="Similarity from 0 to 1: own voice '
        f"{own:.2f}, result {result:.2f}. Other speakers up to {OTHER_SPEAKER}, the same speaker "
        f'from {SAME_SPEAKER}.">'
        f'<span class="voice-other" style="width:{100 * OTHER_SPEAKER:.0f}%">other speakers</span>'
        f'<span class="voice-between" style="width:{100 * (SAME_SPEAKER - OTHER_SPEAKER):.0f}%">'
        f'</span><span class="voice-same">same speaker</span>{marks}</div>'
        '<p class="voice-small"><span class="voice-dot-own">own voice</span>'
        '<span class="voice-dot-result">result</span> '
        "A neural network for recognizing speakers compares the recordings, from 0 to 1. Of "
        f"recordings of one person 95 in 100 pairs reach {SAME_SPEAKER:.2f}; of different people, "
        f"95 in 100 stay below {OTHER_SPEAKER:.2f}. It hears timbre, not manner of speaking.</p>"
        "</div>"
    )
