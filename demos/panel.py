"""The folded settings panel of the chat tab."""

from dataclasses import dataclass, field, replace

import gradio as gr

from demos import wishes
from engines.base import Wishes
from engines.messages import Sampling
from errors import InputError
from services import Services

#: The code that picks the recognizer; the empty one has the language detected.
LANGUAGES = [("English (Moonshine, fastest)", "en"), ("Any language (Whisper base)", "")]


@dataclass(frozen=True, slots=True)
class Options:
    """What the panel says; the fields are its widgets in order."""

    engine: str
    voice: str
    language: str
    temperature: float
    max_tokens: float
    seed: str
    history: float
    system: str
    style: str = ""
    key: str = field(default="", repr=False)
    server_model: str | None = ""
    said_to: str = ""
    block: int = 0
    top_p: float = 0.0
    skips_vision: bool = True

    @property
    def wishes(self) -> Wishes:
        """What the session asks of the engine; key and model only of the one they are for."""
        said = Wishes(self.style or "", self.key or "", self.server_model or "", self.block or 0)
        return said if self.said_to == self.engine else replace(said, key="", model="")

    @property
    def sampling(self) -> Sampling:
        """As the engine takes it.

        Raises:
            InputError: If the seed is no number.
        """
        return Sampling(
            self.temperature, int(self.max_tokens), read_seed(self.seed), self.top_p or None
        )


def read_seed(seed: str) -> int | None:
    """A seed that was typed; None where there is none.

    Raises:
        InputError: If it is no whole number.
    """
    try:
        return int(seed) if seed.strip() else None
    except ValueError as error:
        raise InputError("A seed is a whole number. Empty draws one.") from error


@dataclass(frozen=True, slots=True)
class Panel:
    """The widgets that others need."""

    inputs: list[gr.Component]
    language: gr.Dropdown
    at_once: gr.Checkbox
    voice: gr.Dropdown
    skips_vision: gr.Checkbox


def voices(services: Services, engine: str | None, chosen: str | None) -> gr.Dropdown:
    """The voices that there are now, of the engine and of the library."""
    offered = services.info(engine).voices
    names = [voice.name for voice in offered]
    return gr.Dropdown(
        [(voice.description or voice.name, voice.name) for voice in offered],
        value=chosen if chosen in names else names[0],
        label="Voice",
    )


def build(services: Services, engine: gr.State) -> Panel:
    """Lay out the panel; `Panel.inputs` are the widgets behind `Options`."""
    own = Sampling()
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        with gr.Row():
            language = gr.Dropdown(LANGUAGES, value="en", label="Language of the speech")
            voice = voices(services, None, None)
            at_once = gr.Checkbox(
                True, label="Send at once", info="As soon as a recording is stopped"
            )
        with gr.Row():
            temperature = gr.Slider(
                0,
                2,
                services.settings.temperature,
                step=0.05,
                label="Temperature",
                info="0 takes the likeliest word each time",
            )
            top_p = gr.Slider(
                0,
                1,
                0,
                step=0.05,
                label="Top p",
                info="Draws from the likeliest words that together are so probable; 0: as the "
                "engine likes",
                elem_id="top-p",
            )
            max_tokens = gr.Slider(
                8,
                1024,
                own.max_tokens,
                step=8,
                label="Longest answer",
                info="In tokens, about three quarters of a word each",
            )
            # A text, as an empty `gr.Number` comes back as 0; what is in it is checked with the
            # request, since a refusal here would lose the question.
            seed = gr.Textbox(
                "",
                max_lines=1,
                label="Seed",
                info="The same seed gives the same answer; empty draws one",
            )
            history = gr.Slider(
                0, 50, 20, step=1, label="History", info="Messages that the model is shown"
            )
        skips_vision = gr.Checkbox(
            True,
            label="Skip vision in history",
            info="The model is not shown earlier pictures and videos again: it answers sooner",
            visible=services.engine().info.can_see,
            elem_id="skips-vision",
        )
        system = gr.Textbox(
            "",
            label="System prompt",
            lines=2,
            placeholder="Empty takes a short one of Parley's own",
        )
        asked = wishes.build(services, engine)
    sampled = [temperature, max_tokens, seed, history, system]
    inputs = [engine, voice, language, *sampled, *asked, top_p, skips_vision]
    return Panel(inputs, language, at_once, voice, skips_vision)
