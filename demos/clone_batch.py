"""Batches: a file of texts and voices in, a zip of sound files and a manifest out."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos.buttons import buttons
from demos.clips import served
from demos.clone_words import notice, shown
from demos.problems import told
from demos.running import Running
from errors import CancelledError, InputError
from services import Services
from voice_batch import BatchSpeaker
from voices.batch import Step, zip_batch
from voices.batch_jobs import read_jobs
from voices.manifest import Outcome

SKIP = gr.skip()
HELP = (
    "A CSV file with the columns text, voice, seed and name, or JSONL with the same keys; only "
    "text is needed. The same file again goes on where it was stopped."
)
#: Folders of sessions without a login; they go when the session is forgotten.
ANONYMOUS = "session-"
#: Progress is drawn so often, seconds.
PERIOD = 0.25


def build(services: Services, engine: gr.State, page: gr.Blocks) -> None:
    """Lay out the folded section and wire it."""
    files: set[str] = set()
    page.temp_file_sets.append(files)
    on = Batches(services, files)
    on.tidy()
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Accordion("Batch: many texts, many voices", open=False, elem_id="voice-batch"):
        gr.HTML(f'<p class="voice-small">{HELP}</p>', js_on_load=None)
        jobs = gr.File(
            label="Jobs (CSV or JSONL)", type="filepath", height=120, elem_id="voice-jobs"
        )
        with gr.Row(elem_classes="voice-row"):
            start = gr.Button("Start", variant="primary", elem_id="voice-batch-start", min_width=70)
            stop = gr.Button(
                "Stop",
                variant="stop",
                interactive=False,
                elem_id="voice-batch-stop",
                min_width=70,
            )
        progress = gr.HTML(elem_id="voice-batch-progress", js_on_load=None)
        download = gr.DownloadButton(
            "Download the zip", visible=False, size="sm", elem_id="voice-batch-download"
        )
    folder = gr.State(None, time_to_live=services.settings.session_ttl, delete_callback=_forget)
    start.click(
        on.run,
        [jobs, engine],
        [progress, download, folder, start, stop],
        concurrency_limit=None,
        trigger_mode="multiple",
        **quick,
    )
    stop.click(on.stop, queue=False, **quick)
    page.unload(on.stop)


class Batches:
    """Event handlers; they return what their outputs in `build` ask for.

    Args:
        services: Who does the work.
        files: Files that Gradio cleans up; those that are made are added.
    """

    def __init__(self, services: Services, files: set[str]) -> None:
        self._services = services
        self._files = files
        self._folder = services.settings.data / "batches"
        self._running = Running()

    def run(self, path: str | None, engine: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Work the file off: progress, download, folder, start, stop."""
        if not self._running.reserve(request.session_hash):
            gr.Warning("Press Stop to interrupt it.", title="Still working")
            yield (SKIP,) * 5
            return
        cancel = self._running.begin(request.session_hash).cancel
        hidden = gr.DownloadButton(visible=False)
        yield notice("Reading the file …", "waiting"), hidden, SKIP, *buttons(busy=True)
        tally = _Tally()
        try:
            if path is None:
                raise InputError("There is no file of jobs yet. Choose one first.")
            jobs = read_jobs(Path(path), max_text=self._services.settings.max_text)
            own = self._own_folder(request)
            yield SKIP, SKIP, None if request.username else str(own), SKIP, SKIP
            folder = own / hashlib.sha256(Path(path).read_bytes()).hexdigest()
            speaker = BatchSpeaker(self._services, engine, cancel)
            with closing(speaker.run(jobs, folder)) as steps:
                for step in steps:
                    if tally.take(step):
                        yield tally.shown(), *(SKIP,) * 4
            target = served("parley-batch.zip")
            zip_batch(folder, target)
            self._files.add(str(target))
            yield tally.shown(), gr.DownloadButton(value=str(target), visible=True), *(SKIP,) * 3
        except CancelledError:
            stopped = "Stopped. What is done is kept: start the same file again to go on."
            yield tally.shown() + notice(stopped, "waiting"), *(SKIP,) * 4
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            yield tally.shown() + notice(told(error)), *(SKIP,) * 4
        finally:
            cancel.set()
        yield *(SKIP,) * 3, *buttons(busy=False)

    def stop(self, request: gr.Request) -> None:
        """End the batch; what is done stays."""
        self._running.end(request.session_hash)

    def tidy(self) -> None:
        """Erase what sessions without a login have left behind when the server ended."""
        oldest = time.time() - self._services.settings.session_ttl
        for folder in self._folder.glob(f"{ANONYMOUS}*"):
            if folder.stat().st_mtime < oldest:
                _forget(str(folder))

    def _own_folder(self, request: gr.Request) -> Path:
        """Where the batches of this login are, or of this session where there are no logins."""
        name = request.username or request.session_hash or ""
        kind = "login-" if request.username else ANONYMOUS
        # Hashed, since both come from outside and are no file names.
        return self._folder / f"{kind}{hashlib.sha256(name.encode()).hexdigest()[:32]}"


@dataclass(slots=True)
class _Tally:
    """Where a batch is, in words."""

    step: Step | None = None
    done: int = 0
    kept: int = 0
    failed: tuple[tuple[int, str], ...] = ()
    drawn: float = 0.0

    def take(self, step: Step) -> bool:
        """Note a step; says whether it is time to show it."""
        self.step = step
        self.done += step.state == "done"
        self.kept += step.state == "kept"
        if step.state == "failed" and isinstance(step.outcome, Outcome):
            self.failed += ((step.job.line, step.outcome.error),)
        now = time.monotonic()
        if step.state == "speaking" and now < self.drawn + PERIOD:
            return False
        self.drawn = now
        return True

    def shown(self) -> str:
        if self.step is None:
            return ""
        step, over = self.step, self.step.number - (self.step.state == "speaking")
        counts = [f"{self.done} made"]
        if self.kept:
            counts.append(f"{self.kept} kept from before")
        if self.failed:
            counts.append(f"{len(self.failed)} failed")
        failures = "".join(f"<li>Line {line}: {shown(why)}</li>" for line, why in self.failed)
        now = f"{step.job.text[:60]} ({step.seconds:.1f} s of speech)"
        return (
            f'<div class="voice-batch"><progress value="{over}" max="{step.total}" '
            f'aria-label="Jobs that are over"></progress>'
            f'<p role="status">{over} of {step.total}: {", ".join(counts)}.</p>'
            f'<p class="voice-small">{shown(now)}</p>'
            f"{f'<ul class=voice-advice>{failures}</ul>' if failures else ''}</div>"
        )


def _forget(folder: str | None) -> None:
    """Erase the batches of a session that is over."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
