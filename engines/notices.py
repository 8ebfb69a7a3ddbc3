"""What a session should know of one request, told once however often it comes up."""

from collections.abc import Callable, Iterator

from engines.messages import Event, Notice


class Notices:
    """What the session should know of one request, each thing once."""

    def __init__(self) -> None:
        self._told = list[str]()
        self._given = 0

    def add(self, text: str) -> None:
        """Tell it, if it was not told before."""
        if text not in self._told:
            self._told.append(text)

    def new(self) -> Iterator[Notice]:
        """What was not given before."""
        while self._given < len(self._told):
            self._given += 1
            yield Notice(self._told[self._given - 1])


def telling(put: Callable[[Event], None]) -> Callable[[str], None]:
    """What puts a `Notice` of each thing that the session should know; of each once."""
    notices = Notices()

    def tell(text: str) -> None:
        notices.add(text)
        for notice in notices.new():
            put(notice)

    return tell


def tell_nobody(text: str) -> None:
    """For work of which no session has to know."""
