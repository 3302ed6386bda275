import pickle

import pytest

from edgegal import errors
from edgegal.errors import EdgegalError, FrameError, GateFailedError, InputError, MissingPartError

KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (GateFailedError, 1),
        (InputError, 2),
        (errors.BundleError, 2),
        (errors.DatasetError, 2),
        (FrameError, 2),
        (MissingPartError, 3),
    ],
)
def test_exit_codes_are_the_documented_ones(kind, code):
    assert kind("x").exit_code == code


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_reads_as_message_and_mend(kind):
    assert str(kind("m51.fits is cut short", "copy it again")) == "m51.fits is cut short (copy it again)"
    assert str(kind("m51.fits is cut short")) == "m51.fits is cut short"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_road_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("message", "mend")))
    assert (type(error), error.message, error.mend) == (kind, "message", "mend")


def test_every_kind_is_caught_as_one():
    assert all(issubclass(kind, EdgegalError) for kind in KINDS)
