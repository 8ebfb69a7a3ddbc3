"""Parley: settings -> services -> page -> serve; or one of the commands of `cli`."""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

import allocator
import cli
from errors import ParleyError
from services import Services
from settings import Settings

COMMANDS = ("transcribe", "speak", "ask", "clone", "batch")


class Parley(Settings, cli_prog_name="app.py", cli_implicit_flags=True, cli_kebab_case=True):
    """Talk to, listen to, compare and measure open speech-to-speech systems.

    Starts the page; or, given a command after the options, runs that instead:
    transcribe FILE..., speak TEXT -o OUT.wav, ask FILE... -o OUT.wav,
    clone TEXT... --reference FILE -o OUT.wav, batch JOBS. Each has a --help.
    Every option can also be set in the environment or in .env: PARLEY_PORT for --port.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the page or a command; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    allocator.settle()
    options, command = _split(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = CliApp.run(Parley, cli_args=options)
        with Services(settings) as services:
            return _run(services, command) if command else _serve(services)
    except (ValidationError, SettingsError) as error:
        sys.stderr.write(f"{_plain(error)}\n")
        return 2
    except ParleyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of the app, and the command with what belongs to it.

    Kept apart because pydantic-settings reads lists as JSON or cut at commas, which
    no name of a file survives.
    """
    for place, argument in enumerate(arguments):
        if argument in COMMANDS:
            return list(arguments[:place]), list(arguments[place:])
    return list(arguments), []


def _serve(services: Services) -> int:
    from demos.page import launch  # noqa: PLC0415  (Gradio takes 2 s that no command should wait)

    # Whoever stops a service sends this; callers are to hear of it as they do of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    services.start()
    launch(services)
    return 0


def _run(services: Services, command: list[str]) -> int:
    # What the libraries log would tear the progress bar apart.
    logging.getLogger().setLevel(logging.WARNING)
    return cli.run(services, command)


def _plain(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    return "\n".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
    )


if __name__ == "__main__":
    # Before Gradio is imported: it reads this once.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Before torch is: so that it counts the GPUs as the driver does (see `devices`).
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    sys.exit(main())
