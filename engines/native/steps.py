"""Many requests on one set of weights, one model step at a time.

A request is an iterator: each `next` of it runs one step of a model (a piece of the prompt, a
token, a block of speech) and gives what came of it. `Steps` runs the iterators of all requests
on one thread of its own, a step each in turn, so that

- nobody waits longer for a turn than one step of everybody else,
- a request computes exactly what it would compute alone: steps are never joined in a batch,
- a cancelled request stops within the step that is running, and what it held is free when
  its caller hears of it.

One `Steps` per device is right where models share it: an engine then puts the work of its codec
in as steps as well (`call`), between those of the language models. On a CPU the codec may also
stay on the caller's thread, beside the next step.

    steps = Steps("vita-audio", capacity=4)
    for token in steps.run(model_steps(prompt), cancel=cancel):
        audio = steps.call(lambda: stream.push(token), cancel=cancel)

A model step is a plain function of the request's own state. It must not keep a context manager
of torch's open across a `yield` (`inference_mode`, `autocast`): these belong to a thread, and the
next step on it is somebody else's. `Steps` runs every step in inference mode.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from engines.base import Cancel
from errors import UnavailableError
from turnstile import Turnstile

T = TypeVar("T")


def settled(tensor: Tensor) -> Tensor:
    """Wait in a step until a tensor is there: on a GPU it is only promised until then."""
    if tensor.is_cuda:
        torch.cuda.current_stream(tensor.device).synchronize()
    return tensor


#: Requests that may wait for a place. How many are let in at all is for the services to say.
_MAX_WAITING = 10_000

#: Steps that a request may be ahead of whoever reads it. Enough that no turn is lost while the
#: reader works on what it got, and little is wasted once nobody wants the rest.
AHEAD = 16


class _Request(Generic[T]):
    """One iterator in the round, and what it gave that was not read yet.

    Args:
        steps: The iterator.
        cancel: Stops it.
        ahead: Results that may lie here unread.
        single: Its first result is its last, so it needs no further turn to end.
    """

    def __init__(
        self, steps: Iterator[T], cancel: Cancel, ahead: int, *, single: bool = False
    ) -> None:
        self.steps: Iterator[T] | None = steps
        self.cancel = cancel
        self.ahead = ahead
        self.single = single
        self.results: deque[T] = deque()
        self.failure: BaseException | None = None
        self.complete = False
        self.closed = False

    @property
    def stopped(self) -> bool:
        """Whether nobody wants more of it."""
        return self.closed or self.cancel.is_set()

    @property
    def over(self) -> bool:
        """Whether nothing of it is held any more."""
        return self.steps is None

    def step(self) -> None:
        """Compute one step, or let go if nobody wants more."""
        assert self.steps is not None
        if self.stopped:
            self.release()
            return
        try:
            with torch.inference_mode():
                self.results.append(next(self.steps))
            self.complete = self.single
        except StopIteration:
            self.complete = True
        except BaseException as error:  # noqa: BLE001  (it is raised where the reply is read)
            self.failure = error
        if self.complete or self.failure is not None:
            self.release()

    def release(self) -> None:
        """Drop the iterator and with it the state of the request."""
        close = getattr(self.steps, "close", None)
        if close is not None:
            try:
                with torch.inference_mode():
                    close()
            except BaseException as error:  # noqa: BLE001  (as in `step`)
                self.failure = self.failure or error
            del close
        self.steps = None


class Steps:
    """Runs the steps of requests in turn, on one thread.

    Args:
        name: Of the thread.
        capacity: Requests of `run` whose state is held at once; further ones wait, in order of
            arrival.

    Raises:
        ValueError: If the capacity is below 1.
    """

    def __init__(self, name: str, capacity: int = 8) -> None:
        self._name = name
        self._places = Turnstile(capacity, _MAX_WAITING)
        self._round: deque[_Request[Any]] = deque()
        self._thread: threading.Thread | None = None
        self._shut = False
        # Reentrant: the garbage collector may close a forgotten reply on a thread that is in here.
        self._changed = threading.Condition(threading.RLock())

    @property
    def active(self) -> int:
        """How many requests of `run` hold state."""
        return self._places.active

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return self._places.waiting

    def run(
        self,
        steps: Iterator[T],
        *,
        cancel: Cancel,
        ahead: int = AHEAD,
        on_position: Callable[[int], None] | None = None,
    ) -> Generator[T]:
        """What the steps of a request give, in their order.

        Nothing happens before the first `next` of what this returns. Leaving it early (`close`)
        stops the request as `cancel` does.

        Args:
            steps: Used, and closed at the end, on the thread of this object only. Its first
                `next` may make the state; before that it should hold little.
            cancel: Stops the request, and its wait for a place.
            ahead: Steps that may be computed before they are read; 1 computes the next one while
                the caller works on the last.
            on_position: Told how many come before, those that hold a place included, at first and
                whenever that changes, on the caller's thread. Not called where there is no wait.

        Raises:
            CancelledError: Within a step of `cancel.set()`; the request's state is free then.
            UnavailableError: If this object was closed.
            BaseException: What a step raised.
        """
        request = _Request(steps, cancel, ahead)
        del steps  # From here on only the request holds it, and lets go of it.
        places = self._places

        def told(waiting: int) -> None:
            if on_position is not None:
                on_position(waiting + places.active)

        with places.enter(cancel, told):
            yield from self._follow(request)

    def call(self, work: Callable[[], T], *, cancel: Cancel) -> T:
        """Run one step that belongs to no iterator, in its turn; needs no place.

        Raises:
            CancelledError: If `cancel` was set before it was over.
            UnavailableError: If this object was closed.
            BaseException: What `work` raised.
        """
        once = (work() for _ in range(1))
        (result,) = self._follow(_Request(once, cancel, ahead=1, single=True))
        return result

    def close(self) -> None:
        """Stop every request and the thread; further requests are refused."""
        with self._changed:
            self._shut = True
            for request in tuple(self._round):
                request.closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _follow(self, request: _Request[T]) -> Generator[T]:
        forget = request.cancel.on_set(self._wake)
        self._add(request)
        try:
            while (results := self._next_result(request)) is not None:
                yield from results
        finally:
            self._remove(request)
            forget()
        if request.failure is not None:
            raise request.failure
        request.cancel.check()
        if not request.complete:
            raise UnavailableError("The model was unloaded. Try again.")

    def _next_result(self, request: _Request[T]) -> tuple[T] | None:
        """Wait for a result; None once there will be no more, or nobody wants it."""
        with self._changed:
            self._changed.wait_for(lambda: request.results or request.over)
            if request.stopped or not request.results:
                return None
            result = request.results.popleft()
            self._changed.notify_all()  # There is room for another step now.
            return (result,)

    def _add(self, request: _Request[Any]) -> None:
        with self._changed:
            if self._shut:
                raise UnavailableError("The model was unloaded. Try again.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            if threading.current_thread() is self._thread:
                raise RuntimeError("a request was made within a step, which would wait for itself")
            self._round.append(request)
            self._changed.notify_all()

    def _remove(self, request: _Request[Any]) -> None:
        """Return once nothing of a request is held."""
        with self._changed:
            request.closed = True
            request.results.clear()
            self._changed.notify_all()
            # The garbage collector may be at it in the middle of a step: that one comes first.
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: request.over)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._shut or self._due())
                request = self._due()
                if request is None:
                    return
            request.step()
            with self._changed:
                # Behind those who came while it ran.
                self._round.remove(request)
                if not request.over:
                    self._round.append(request)
                self._changed.notify_all()

    def _due(self) -> _Request[Any] | None:
        """Whose turn it is: those to let go of first, then in order."""
        stopped = (request for request in self._round if request.stopped)
        waiting = (request for request in self._round if len(request.results) < request.ahead)
        return next(stopped, None) or next(waiting, None)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
