"""Errors whose message is written for the person who uses Parley.

Everything that can go wrong for a reason a person can do something about is
raised as one of these. The page, the API and the command line show the message
as it is; any other exception is a bug and is shown as one.
"""


class ParleyError(Exception):
    """Base class: `str(error)` says what happened and what to do about it."""


class InputError(ParleyError):
    """What was given (a clip, a text, a setting) cannot be used."""


class UnavailableError(ParleyError):
    """What is needed (weights, memory, a place in the queue) is not there now."""


class BusyError(UnavailableError):
    """Others are being answered, and as many wait as may; soon it may be otherwise."""


class EngineError(ParleyError):
    """A model failed while it worked on a request."""


class CancelledError(ParleyError):
    """The request was cancelled by its owner."""
