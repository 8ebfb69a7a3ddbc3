"""What a session may ask of the chosen engine: how to speak, which model, with which key.

The talk tab has its own choice of how much speech is rendered at once.

The key stays with the session: it is sent with each request, used for that, and neither
kept, logged nor shown. Another engine is another server: a switch empties the field, and the
key counts only for the engine for which it was typed.
"""

from typing import Any

import gradio as gr

from demos.problems import told
from engines.base import BLOCKS, Cancel, Wish, Wishes
from services import Services

#: The talk tab lives in the browser, and hears of the wishes there.
TELL_TALK = (
    "(engine, style, key, model) => { window.dispatchEvent(new CustomEvent('parley-wishes', "
    "{ detail: { engine, asked: { style, key, chat_model: model ?? '' } } })); }"
)
#: The widgets in order, as `Wishes` has its fields.
FIELDS: tuple[Wish, ...] = ("style", "key", "model", "block")
#: Sizes of a block, with what they come to.
_BLOCKS = [("as the engine likes", 0), *((f"{n} codes, {n * 0.08:.1f} s", n) for n in BLOCKS)]


def build(services: Services, engine: gr.State) -> list[gr.Component]:
    """Lay out the widgets; they are hidden where the engine makes nothing of them.

    Returns:
        Style, key, model, the engine for which they were said, and the size of a block.
    """
    shown = _shown(services, services.settings.engine)
    with gr.Row(visible=bool(shown), elem_id="wishes") as row:
        style = gr.Textbox(
            label="Speaking style",
            info="In words: warm and slow, like a bedtime story",
            elem_id="wish-style",
            max_lines=2,
            visible="style" in shown,
        )
        key = gr.Textbox(
            type="password",
            label="API key",
            info="For this engine's server, in this session only; never kept",
            elem_id="wish-key",
            visible="key" in shown,
        )
        model = gr.Dropdown(
            [],
            value="",
            allow_custom_value=True,
            label="Model on the server",
            info="Empty takes the engine's own",
            elem_id="wish-model",
            visible="model" in shown,
        )
        listing = gr.Button(
            "List models", size="sm", min_width=90, visible="model" in shown, elem_id="list-models"
        )
        block = gr.Dropdown(
            _BLOCKS,
            value=0,
            label="Block of speech",
            info="Rendered at once, after the first; small is heard sooner, large costs less",
            elem_id="wish-block",
            visible="block" in shown,
        )
        # In the browser, too, which does not know a `gr.State`.
        said_to = gr.Textbox("", visible="hidden", elem_id="wishes-for")
    fields: list[gr.Component] = [style, key, model]
    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    engine.change(
        lambda name: _updates(services, name), engine, [row, *fields, block, listing], **quick
    )
    gr.on([field.change for field in fields], lambda name: name, engine, said_to, **quick).then(
        None, [said_to, *fields], None, js=TELL_TALK
    )
    listing.click(
        lambda name, *said: _choices(services, name, Wishes(*said)),
        [engine, *fields],
        model,
        api_visibility="private",
    )
    return [*fields, said_to, block]


def _shown(services: Services, engine: str | None) -> frozenset[Wish]:
    return services.engine(engine).info.wishes


def _updates(services: Services, engine: str) -> list[Any]:
    """The row, the fields and the button for an engine: never what was typed for another."""
    shown = _shown(services, engine)
    style, key, model, block = (gr.update(visible=name in shown) for name in FIELDS)
    fields = [style, key | {"value": ""}, model | {"value": ""}, block]
    return [gr.update(visible=bool(shown)), *fields, gr.update(visible="model" in shown)]


def _choices(services: Services, engine: str, wishes: Wishes) -> Any:
    try:
        models = services.choices(wishes, engine=engine, cancel=Cancel())
    except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
        gr.Warning(told(error), title="No list")
        return gr.skip()
    return gr.update(choices=list(models))
