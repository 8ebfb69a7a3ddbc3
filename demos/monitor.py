"""The monitor tab: how fast, how many, what went wrong; drawn while it is looked at."""

import json
from typing import Any

import gradio as gr
from gradio.components.native_plot import NativePlot

from demos import monitor_frames as frames
from demos.monitor_pictures import tiles, waterfalls
from monitor.turns import as_csv
from services import Services

#: How often the tab is drawn anew while it is open, seconds.
PERIOD = 3.0
#: Of a plot, pixels.
HEIGHT = 230
#: Of day, in 24 hours as the turns below have it.
CLOCK = "%H:%M:%S"
#: A line for each: dark enough for white, light enough for slate.
COLOURS = ["#0d9488", "#d97706", "#6366f1", "#db2777", "#65a30d", "#0284c7"]


def build(services: Services, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """The tab; nothing is drawn while another one is open.

    Args:
        services: Whose watch is read.
        tabs: All tabs.
        tab: This one.
    """
    watch = services.watch

    def drawn() -> tuple[Any, ...]:
        turns, notes = watch.turns.all(), watch.notes()
        return (
            tiles(watch),
            frames.latencies(turns),
            frames.stages(watch.stages()),
            frames.load(notes),
            frames.memory(notes),
            waterfalls(turns),
        )

    def opened(event: gr.SelectData) -> gr.Timer:
        return gr.Timer(active=event.value == tab.label)

    with gr.Column(elem_id="monitor"):
        figures = gr.HTML(elem_id="monitor-tiles")
        with gr.Row():
            latencies = _plot(
                gr.ScatterPlot,
                "monitor-latencies",
                "time",
                "milliseconds",
                _colours(frames.LATENCIES),
                title="How soon each reply came",
                y_title="ms",
            )
            stages = _plot(
                gr.BarPlot,
                "monitor-stages",
                "stage",
                "milliseconds",
                dict(zip(frames.SHARES, COLOURS[1::-1], strict=True)),
                color="share",
                title="Until each stage was done",
                y_title="ms",
                sort=list(frames.STAGES.values()),
            )
        with gr.Row():
            load = _plot(
                gr.LinePlot,
                "monitor-load",
                "time",
                "number",
                _colours(frames.LOAD),
                title="Load, last hour",
                y_title=" ",
                y_axis_format="~g",
            )
            memory = _plot(
                gr.LinePlot,
                "monitor-memory",
                "time",
                "gigabytes",
                _colours(frames.MEMORY),
                title="Memory, last hour",
                y_title="GB",
            )
        last = gr.HTML(elem_id="monitor-turns")
        with gr.Row(elem_id="monitor-export"):
            table = gr.Button("Last turns as CSV", size="sm")
            whole = gr.Button("All figures as JSON", size="sm")
            rows, figured = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
    timer = gr.Timer(PERIOD, active=False)
    outputs = [figures, latencies, stages, load, memory, last]
    silent: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    tabs.select(opened, None, timer, **silent)
    tab.select(drawn, None, outputs, **silent)
    timer.tick(drawn, None, outputs, **silent)
    for button, wire, content in (
        (table, rows, lambda: as_csv(watch.turns.all())),
        (whole, figured, lambda: json.dumps(watch.stats(), indent=1)),
    ):
        button.click(content, None, wire, **silent)
        wire.change(None, wire, None, js=_saving(button is table))


def _plot(
    kind: type[NativePlot],
    name: str,
    x: str,
    y: str,
    colours: dict[str, str],
    *,
    color: str = "what",
    **options: Any,
) -> NativePlot:
    """A plot of one of the frames; a colour for each of its lines, no name on the x-axis.

    Args:
        kind: Scatter, bars, or lines.
        name: Its id on the page.
        x: Column of the frame.
        y: Likewise.
        colours: By value of the column `color`.
        color: Column that tells lines apart.
        options: What else the plot takes.
    """
    return kind(
        x=x,
        y=y,
        color=color,
        color_title=" ",
        color_map=colours,
        x_title=" ",
        x_axis_format=CLOCK if x == "time" else None,
        # Else what hardly changes would look as if it grew.
        y_lim=[0, None],
        elem_id=name,
        height=HEIGHT,
        buttons=[],
        **options,
    )


def _saving(table: bool) -> str:
    """A script of the page that saves what came over a wire as a file."""
    kind, media_type = ("csv", "text/csv") if table else ("json", "application/json")
    return f"""(content) => {{
        const link = document.createElement("a");
        const time = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "");
        link.download = `parley-monitor-${{time}}.{kind}`;
        link.href = URL.createObjectURL(new Blob([content], {{ type: "{media_type}" }}));
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    }}"""


def _colours(names: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(names, COLOURS, strict=False))
