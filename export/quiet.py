"""Converters talk much, in Python and in C++: keep it off stdout always, and off stderr unless it is wanted."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from edgegal.errors import EdgegalError

__all__ = ["tools_quiet"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def tools_quiet() -> Iterator[None]:
    """Hold back what libraries write to both standard streams, at the level of the file descriptors.

    With logging at INFO (``--verbose``) it goes to stderr as it comes. Otherwise it is dropped, but for the end of it
    when an exception passes through: then it may be the only explanation there is. Not for use from two threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.ExitStack() as stack:
        if logger.isEnabledFor(logging.INFO):
            sink = os.dup(2)
            stack.callback(os.close, sink)
        else:
            sink = stack.enter_context(tempfile.TemporaryFile()).fileno()
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        try:
            with _redirected(sink):
                yield
        except EdgegalError:
            raise
        except Exception:
            if not logger.isEnabledFor(logging.INFO) and (words := _tail(sink).strip()):
                logger.error("the converter's last words:\n%s", words)
            raise


@contextlib.contextmanager
def _redirected(sink: int) -> Iterator[None]:
    """Both standard streams into a file descriptor, Python's objects and the system's numbers alike."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    stream = os.fdopen(os.dup(sink), "w", errors="replace")
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield
    finally:
        stream.close()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(saved[0])
        os.close(saved[1])


def _tail(sink: int, limit: int = 4000) -> str:
    size = os.lseek(sink, 0, os.SEEK_END)
    os.lseek(sink, max(0, size - limit), os.SEEK_SET)
    return os.read(sink, limit).decode(errors="replace")
