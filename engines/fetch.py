"""Getting weights while a model is being loaded."""

from typing import Any

from model_spec import LoadReport
from weights import Key, Progress, Store


def fetch(store: Store, key: Key, report: LoadReport) -> Any:
    """Get weights, passing the progress on to whoever waits for the model."""

    def progress(state: Progress) -> None:
        fraction = state.done_bytes / state.total_bytes if state.total_bytes else None
        report.update(
            f"{state.state} {state.name}",
            fraction,
            bytes_done=state.done_bytes,
            seconds_left=state.seconds_left,
        )

    path = store.ensure(key, progress, report.cancel)
    report.update("loading")
    return path
