"""Sound that came with a request, as a clip."""

import shutil
import tempfile
from typing import BinaryIO

from services import Services
from speech.files import Clip


def read_sound(services: Services, content: BinaryIO, rate: int | None = None) -> Clip:
    """Read sound of any kind.

    Args:
        services: Their limits hold.
        content: The file, at its start.
        rate: Of the clip, Hz; None: as for recognition.

    Raises:
        InputError: If it is no sound, or beyond the limits.
    """
    # On disk, under a name of ours: the decoders want a file that is there.
    with tempfile.NamedTemporaryFile(prefix="parley-") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        return services.clip(file.name) if rate is None else services.clip(file.name, rate)
