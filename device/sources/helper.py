"""Calls that may never return, made by a thread that can be left behind.

Drivers of USB cameras hang in the kernel, and no signal gets them out of there.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, TypeVar

__all__ = ["Helper"]

Result = TypeVar("Result")

# How soon a wait notices that it shall end; a result is noticed at once.
_LOOK_S = 0.1


class Helper:
    """One daemon thread that runs calls in the order given.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"edgegal-{name}", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], Result], timeout_s: float, cancelled: Event) -> Result:
        """What `function` returns or raises.

        Raises
        ------
        TimeoutError
            It took longer than `timeout_s`, or `cancelled` was set. It may still run.
        """
        future: Future[Result] = Future()
        self._calls.put((future, function))
        end = monotonic() + timeout_s
        while monotonic() < end and not cancelled.is_set():
            if wait([future], min(_LOOK_S, timeout_s)).done:
                return future.result()
        raise TimeoutError(f"nothing came within {timeout_s:g} s")

    def leave(self, last: Callable[[], object], timeout_s: float) -> None:
        """End the thread with a last call, once those before it returned; wait for it up to `timeout_s`."""
        self._calls.put((Future(), last))
        self._calls.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, function = item
            # Whatever it is goes to the one who waits.
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
