"""What people are told when a request fails."""

import logging

from errors import ParleyError

logger = logging.getLogger(__name__)

UNEXPECTED = "This went wrong inside Parley. It is noted in the log; please try again."


def told(error: Exception) -> str:
    """An error in words; one that is a bug goes to the log."""
    if isinstance(error, ParleyError):
        return str(error)
    logger.error("a request failed", exc_info=error)
    return UNEXPECTED
