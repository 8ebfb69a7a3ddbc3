"""Pictures and videos in the composer of the chat tab: added, looked at, taken away."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.problems import told
from demos.running import Running
from demos.shelf import Shelf, Thing, drawn
from engines.sight.picking import MOST, USUAL, Stretch, read_clock
from engines.sight.pictures import is_video
from engines.sight.videos import Film
from errors import CancelledError, InputError
from services import Services
from sight_desk import MOST_PICTURES

SKIP = gr.skip()
#: A press on a button of the shelf comes back as this event.
SCRIPT = """
element.addEventListener("click", ({ target }) => {
  const { action, key = "" } = target.closest("[data-action]")?.dataset ?? {};
  if (action) trigger("act", { action, key });
});
"""
#: How many outputs a handler has: the shelf and `Widgets.outputs`.
OUTPUTS = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Widgets:
    """The part of the composer that takes pictures and videos."""

    part: gr.Column
    add: gr.UploadButton
    shelf: gr.HTML
    film: gr.Row
    begin: gr.Textbox
    end: gr.Textbox
    most: gr.Slider
    again: gr.Button

    @property
    def outputs(self) -> list[gr.Component]:
        """What the handlers return, after the shelf itself."""
        return [self.shelf, self.film, self.begin, self.end]

    @property
    def wanted(self) -> list[gr.Component]:
        """Which part of a video, and how many frames."""
        return [self.begin, self.end, self.most]


def build() -> Widgets:
    """Lay it out."""
    small: dict[str, Any] = {"max_lines": 1, "min_width": 80}
    with gr.Column(elem_id="showing") as part:
        add = gr.UploadButton(
            "Add pictures or a video",
            file_count="multiple",
            file_types=["image", "video", ".avi", ".mov", ".webm", ".mp4"],
            size="sm",
            elem_id="add-seen",
        )
        shelf = gr.HTML(elem_id="seen", js_on_load=SCRIPT, padding=False)
        with gr.Row(visible=False, elem_id="film", equal_height=True) as film:
            begin = gr.Textbox("", label="From", placeholder="0:00", elem_id="film-begin", **small)
            end = gr.Textbox("", label="To", placeholder="the end", elem_id="film-end", **small)
            most = gr.Slider(
                1,
                MOST,
                USUAL,
                step=1,
                label="Frames, at most",
                min_width=260,
                elem_id="film-most",
            )
            again = gr.Button("Pick frames", size="sm", min_width=90, elem_id="film-again")
    return Widgets(part, add, shelf, film, begin, end, most, again)


def wire(page: gr.Blocks, w: Widgets, on: "Showing", shelf: gr.State, engine: gr.State) -> None:
    """Wire it."""
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    long: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
        "trigger_mode": "multiple",
    }
    changed = [shelf, *w.outputs]
    w.add.upload(on.add, [w.add, shelf, w.most, engine], changed, **long)
    gr.on(
        [w.begin.submit, w.end.submit, w.most.release, w.again.click],
        on.pick,
        [shelf, *w.wanted, engine],
        changed,
        **long,
    )
    w.shelf.act(on.act, [shelf, engine], changed, **quick)
    engine.change(on.draw, [shelf, engine], w.shelf, **quick)
    page.unload(on.leave)


class Showing:
    """Event handlers; they return the shelf and `Widgets.outputs`.

    Args:
        services: Read the files.
        files: Files that Gradio cleans up; those that are made are added.
    """

    def __init__(self, services: Services, files: set[str]) -> None:
        self._services = services
        self._files = files
        self._reading = Running()

    def is_reading(self, request: gr.Request) -> bool:
        """Whether a file of this session is still being read."""
        return self._reading.active(request.session_hash)

    def add(
        self,
        paths: list[str] | None,
        shelf: Shelf,
        most: float,
        engine: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Take files that were chosen; what cannot be used is told, the rest is kept."""
        if self.is_reading(request):
            gr.Warning("Add more when the video was looked at.", title="Still looking at a video")
            yield (SKIP,) * OUTPUTS
            return
        notices: list[str] = []
        pictures = [path for path in paths or () if not is_video(path)]
        films = [path for path in paths or () if is_video(path)]
        room = max(0, MOST_PICTURES - len(shelf.images))
        for path in pictures[:room]:
            try:
                picture = self._services.sight.picture(path)
                shelf = shelf.with_(Thing.of_picture(picture, self._files))
            except Exception as error:  # noqa: BLE001  (what is no message for people is logged)
                notices.append(told(error))
        if len(pictures) > room:
            notices.append(
                f"At most {MOST_PICTURES} pictures go with one message: "
                f"{len(pictures) - room} of yours stayed out. Send them with the next ones."
            )
        if len(films) > 1:
            notices.append("One video goes with a message: the first of yours is taken.")
        if films:
            wanted = Wanted(films[0], Stretch(), int(most))
            yield from self._look(wanted, shelf, engine, notices, request)
        else:
            yield self._shown(shelf, engine, notices)

    def pick(
        self, shelf: Shelf, begin: str, end: str, most: float, engine: str, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Look at the video anew, if another part of it or another number is wanted."""
        film = shelf.film
        if film is None:
            yield (SKIP,) * OUTPUTS
            return
        try:
            wanted = Wanted(
                film.path, Stretch(read_clock(begin) or 0.0, read_clock(end)), int(most)
            )
        except InputError as error:
            yield self._shown(shelf, engine, [str(error)])
            return
        if wanted == Wanted(film.path, film.stretch, film.most):
            yield self._shown(shelf, engine, [])
        else:
            yield from self._look(wanted, shelf, engine, [], request)

    def act(
        self, event: gr.EventData, shelf: Shelf, engine: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """A button of the shelf was pressed."""
        if event.action == "stop":
            self._reading.end(request.session_hash)
            return (SKIP,) * OUTPUTS
        return self._shown(shelf.without(str(event.key)), engine, [])

    def draw(self, shelf: Shelf, engine: str, notices: Sequence[str] = ()) -> str:
        """The shelf as it is for this engine."""
        return drawn(shelf, filter(None, (*notices, self.blind(shelf, engine))))

    def blind(self, shelf: Shelf, engine: str) -> str:
        """What to tell those who want to show this to an engine that cannot see; else nothing."""
        info = self._services.engine(engine).info
        return info.blind if shelf.things and not info.can_see else ""

    def leave(self, request: gr.Request) -> None:
        """The page is closed."""
        self._reading.end(request.session_hash)

    def emptied(self) -> tuple[Any, ...]:
        """Nothing goes with the next message."""
        return Shelf(), "", gr.Row(visible=False), "", ""

    def _look(
        self,
        wanted: "Wanted",
        shelf: Shelf,
        engine: str,
        notices: list[str],
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Look at a video, and tell how far that is; a new look stops the one before."""
        run = self._reading.begin(request.session_hash)
        is_new = shelf.film is None or shelf.film.path != wanted.path
        path, stretch, most = wanted.path, wanted.stretch, wanted.most
        try:
            for step in _watched(
                lambda tell: self._services.sight.film(
                    path, stretch, most, cancel=run.cancel, on_moment=tell
                )
            ):
                if isinstance(step, Film):
                    shelf = shelf.with_(Thing.of_film(step, path, stretch, most, self._files))
                else:
                    done, of = step
                    words = f"Looking at the video: {done} of {of} frames."
                    yield SKIP, drawn(shelf, notices, words), *(SKIP,) * (OUTPUTS - 2)
        except CancelledError:
            if not run.shown:  # Another look has begun, and draws the shelf.
                yield (SKIP,) * OUTPUTS
                return
            notices = [*notices, "Stopped: the video was not looked at."]
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            notices = [*notices, told(error)]
        finally:
            run.cancel.set()
        drawn_anew = self._shown(shelf, engine, notices)
        yield (*drawn_anew[:3], "", "") if is_new else drawn_anew

    def _shown(self, shelf: Shelf, engine: str, notices: list[str]) -> tuple[Any, ...]:
        html = self.draw(shelf, engine, notices)
        return shelf, html, gr.Row(visible=shelf.film is not None), SKIP, SKIP


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be looked at: which part of a video, and how many moments of it at most."""

    path: str
    stretch: Stretch
    most: int


def _watched(look: Callable[[Progress], Film]) -> Iterator[tuple[int, int] | Film]:
    """Looks at a video on a thread of its own: how far it is, then what came of it.

    Raises:
        Whatever the look raises.
    """
    given: queue.SimpleQueue[tuple[int, int] | Film | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            given.put(look(lambda done, of: given.put((done, of))))
        except BaseException as error:  # noqa: BLE001  (raised again on the other thread)
            given.put(error)

    threading.Thread(target=work, name="parley video", daemon=True).start()
    while True:
        step = given.get()
        if isinstance(step, BaseException):
            raise step
        yield step
        if isinstance(step, Film):
            return
