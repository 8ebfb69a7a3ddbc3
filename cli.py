"""The command line without a page: transcribe, speak, ask, clone and batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli_desk import Desk, read_text
from cli_voices import batch, clone
from engines.messages import Conversation, Notice, Sampling, Transcript, Turn
from engines.sight.picking import USUAL
from errors import InputError
from services import Services
from speech.names import safe_name

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
commands.command()(clone)
commands.command()(batch)

Files = Annotated[list[Path], typer.Argument(help="Sound files of any kind and length.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="WAV file to write.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Fixes every random number.")]
VoiceName = Annotated[str | None, typer.Option(help="Name of a voice.")]


def run(services: Services, arguments: Sequence[str]) -> int:
    """Run the command that `arguments` begin with; returns the exit status."""
    desk = Desk(services)
    command = typer.main.get_command(commands)
    try:
        command.main(list(arguments), prog_name="app.py", obj=desk, standalone_mode=True)
    except SystemExit as end:
        if end.code:
            return int(end.code)
    return 1 if desk.failed else 0


@commands.command()
def transcribe(
    context: typer.Context,
    files: Files,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for a .txt a file; else to the screen."),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language spoken; en is the fastest, empty detects it.")
    ] = "",
) -> None:
    """Write down what is said in sound files."""
    desk: Desk = context.obj

    def work(file: Path) -> None:
        audio = desk.clip(file).audio
        events = desk.services.transcribe(audio, language=language or None, cancel=desk.cancel)
        text = ""
        for event in events:
            if isinstance(event, Transcript):
                text = event.text
                desk.show(event.heard / audio.seconds)
            elif isinstance(event, Notice):
                desk.remark(event.text)
        if output is not None:
            desk.target(output, file, "txt").write_text(f"{text}\n", encoding="utf-8")
        else:
            desk.say(text if len(files) == 1 else f"{safe_name(file.name)}: {text}")

    desk.each(files, work)


@commands.command()
def speak(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say; @FILE reads it from a file.")],
    output: Output = Path("speech.wav"),
    voice: VoiceName = None,
    seed: Seed = None,
) -> None:
    """Turn text into speech."""
    desk: Desk = context.obj

    def work(output: Path) -> None:
        words = read_text(text, desk.services.settings.max_text)
        events = desk.services.speak(words, voice, seed=seed, cancel=desk.cancel)
        desk.write(events, output, desk.made(voice))

    desk.each([output], work)


@commands.command()
def ask(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Sound files with the questions.")
    ] = None,
    output: Output = Path("reply.wav"),
    text: Annotated[str, typer.Option(help="The question in writing, or what goes with it.")] = "",
    image: Annotated[
        list[Path] | None, typer.Option(help="Picture to look at; may come several times.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Video to look at.")] = None,
    begin: Annotated[str, typer.Option(help="Where in the video to begin: 7, or 0:07.")] = "",
    end: Annotated[str, typer.Option(help="Where in the video to end.")] = "",
    frames: Annotated[int, typer.Option(help="Frames of the video at most, one a second.")] = USUAL,
    language: Annotated[
        str, typer.Option(help="Language of the questions; empty detects it.")
    ] = "en",
    voice: VoiceName = None,
    seed: Seed = None,
) -> None:
    """Ask spoken or written questions, also about pictures or a video.

    Of several sound files, the output is a folder.
    """
    desk: Desk = context.obj
    spoken = files or []
    if not (spoken or text.strip() or image or video):
        raise typer.BadParameter("Give a sound file, --text, --image or --video.")
    services, cancel = desk.services, desk.cancel
    seen = desk.seen(image or (), video, begin, end, frames)
    if seen is None:
        return

    def work(file: Path) -> None:
        target = desk.target(output, file, "wav") if len(spoken) > 1 else output
        if target.resolve() in {path.resolve() for path in spoken}:
            raise InputError(f"{target} is a question; I will not write over it.")
        events = services.converse(
            Turn(desk.clip(file).audio if spoken else None, text, seen.images, seen.frames),
            Conversation(),
            voice,
            sampling=Sampling(services.settings.temperature, seed=seed),
            language=language or None,
            cancel=cancel,
        )
        question, answer = desk.write(events, target, desk.made(voice))
        desk.say(f"Q: {Turn(text=text).question(question)}\nA: {answer}")

    desk.each(spoken or [output], work)
