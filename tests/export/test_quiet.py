"""Keeping converters quiet, in Python and below it."""

import logging
import os
import sys
import warnings

import pytest

from edgegal.errors import InputError
from edgegal.export.quiet import tools_quiet

pytestmark = pytest.mark.host


def _chatter():
    print("python out")  # noqa: T201
    sys.stderr.write("python err\n")
    os.write(1, b"system out\n")
    os.write(2, b"system err\n")
    warnings.warn("old", UserWarning, stacklevel=1)


def test_nothing_is_heard_and_the_streams_come_back(capfd):
    with tools_quiet():
        _chatter()
    assert capfd.readouterr() == ("", "")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_verbose_goes_to_stderr_only(capfd, caplog):
    caplog.set_level(logging.INFO)
    with tools_quiet():
        os.write(1, b"system out\n")
        print("python out")  # noqa: T201
    heard = capfd.readouterr()
    assert heard.out == ""
    assert "system out" in heard.err
    assert "python out" in heard.err


def _converter(error):
    with tools_quiet():
        os.write(2, b"unsupported operator Frobnicate\n")
        raise error


def test_the_last_words_before_a_failure_are_kept(caplog):
    with pytest.raises(ZeroDivisionError):
        _converter(ZeroDivisionError())
    assert "Frobnicate" in caplog.text


def test_an_error_with_a_mend_needs_no_last_words(caplog):
    with pytest.raises(InputError):
        _converter(InputError("no"))
    assert caplog.text == ""
