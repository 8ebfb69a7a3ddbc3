"""Parley: settings -> services -> page -> serve; or one of the commands of `cli`."""

import logging
import os
import sys

from pydantic import Field, ValidationError
from pydantic_settings import CliApp, CliSubCommand, SettingsError, get_subcommand

import cli
from errors import ParleyError
from services import Services
from settings import Settings


class Parley(Settings, cli_prog_name="app.py", cli_implicit_flags=True, cli_kebab_case=True):
    """Talk to, listen to, compare and measure open speech-to-speech systems.

    Without a command: starts the page. Every option can also be set in the
    environment or in .env, as PARLEY_PORT for --port; options go before the command.
    """

    transcribe: CliSubCommand[cli.Transcribe] = Field(description="Speech to text")
    speak: CliSubCommand[cli.Speak] = Field(description="Text to speech")
    ask: CliSubCommand[cli.Ask] = Field(description="Spoken questions, spoken answers")


def main(arguments: list[str] | None = None) -> int:
    """Run the page or a command; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = CliApp.run(Parley, cli_args=sys.argv[1:] if arguments is None else arguments)
        command = get_subcommand(settings, is_required=False)
        with Services(settings) as services:
            if isinstance(command, cli.Command):
                return _command(services, command)
            return _serve(services)
    except (ValidationError, SettingsError) as error:
        sys.stderr.write(f"{_plain(error)}\n")
        return 2
    except ParleyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(services: Services) -> int:
    from demos.page import launch  # noqa: PLC0415  (Gradio takes 2 s that no command should wait)

    services.start()
    launch(services)
    return 0


def _command(services: Services, command: cli.Command) -> int:
    # What the libraries log would tear the progress bar apart.
    logging.getLogger().setLevel(logging.WARNING)
    desk = cli.Desk(services)
    command.run(desk)
    return 1 if desk.failed else 0


def _plain(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    return "\n".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
    )


if __name__ == "__main__":
    # Before Gradio is imported: it reads this once.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    sys.exit(main())
