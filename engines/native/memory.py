"""Whether a model fits, before anything of it is read."""

import psutil
import torch

from errors import UnavailableError

_GIGABYTE = 1_000_000_000


def require_free(
    name: str, *, device: str, weights: int, what: str, each: int, window: int, settings: str
) -> None:
    """Refuse a load that cannot end well.

    Args:
        name: Of the model, for people.
        device: `cpu`, `cuda`, `cuda:1`.
        weights: Bytes that these take there.
        what: They, for people.
        each: Bytes of one conversation.
        window: Tokens of that.
        settings: How the variables begin that make it smaller.

    Raises:
        UnavailableError: If less is free than the weights and one conversation take.
    """
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    if free >= weights + each:
        return
    raise UnavailableError(
        f"{name} needs {_gigabytes(weights)} for {what} and {_gigabytes(each)} for a conversation "
        f"of {window} tokens on {device}, where {_gigabytes(free)} are free. Free some, or set "
        f"{settings}_PRECISION to int8 or int4, or {settings}_WINDOW to less."
    )


def _gigabytes(amount: int) -> str:
    return f"{amount / _GIGABYTE:.3g} GB"
