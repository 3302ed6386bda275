import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.device.web.access import Access, Password, TooManyFailuresError, WrongPasswordError, find_password
from edgegal.device.web.names import Names
from edgegal.errors import InputError

GOOD = "orion-nebula"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def password() -> Password:
    return Password.of(GOOD)


@pytest.fixture(autouse=True)
def no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEGAL_WEB_PASSWORD", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def fails(access: Access, times: int, address: str = "192.168.1.7") -> None:
    for _ in range(times):
        with pytest.raises(WrongPasswordError):
            access.log_in("not it at all", address)


@settings(max_examples=10, deadline=None)
@given(st.text(max_size=40))
def test_only_the_password_matches(candidate: str) -> None:
    known = Password.of(GOOD)
    assert known.matches(candidate) == (candidate == GOOD)
    assert Password.parse(known.line) == known


def test_two_hashes_of_one_password_differ(password: Password) -> None:
    assert Password.of(GOOD).digest != password.digest
    assert GOOD not in password.line


def test_a_short_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAL_WEB_PASSWORD", "m31")
    with pytest.raises(InputError, match="3 characters") as caught:
        find_password(None)
    assert "8 or more" in caught.value.mend


def test_a_first_password_is_told_once_and_kept_as_a_hash_for_its_owner_only(tmp_path: Path) -> None:
    made, told = find_password(tmp_path / "state")
    (kept,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert made is not None
    assert made.matches(told)
    assert len(told) == 17
    assert told not in kept.read_text(encoding="ascii")
    assert find_password(tmp_path / "state") == (made, "")


def test_the_secret_goes_before_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_password(tmp_path)
    monkeypatch.setenv("EDGEGAL_WEB_PASSWORD", GOOD)
    found, told = find_password(tmp_path)
    assert found is not None
    assert found.matches(GOOD)
    assert told == ""


@pytest.mark.parametrize("text", ["", "hunter2", "scrypt-1-1-1 00 00", "scrypt-16384-8-1 zz zz"])
def test_a_damaged_hash_is_said_with_the_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "web-password").write_text(text, encoding="ascii")
    with pytest.raises(InputError, match="web-password does not hold") as caught:
        find_password(tmp_path)
    assert "delete it" in caught.value.mend


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be"):
        find_password(tmp_path / "file")


def test_a_session_begins_with_the_password_and_ends_with_the_day(password: Password) -> None:
    clock = Clock()
    access = Access(password, clock)
    first, second = (access.log_in(GOOD, "192.168.1.7") for _ in range(2))
    assert first != second
    assert access.knows(first)
    assert not access.knows(first[:-1])
    assert not access.knows("")
    access.log_out(first)
    assert not access.knows(first)
    assert access.knows(second)
    clock.now += 40 * 3600
    assert not access.knows(second)


def test_who_guesses_waits_ever_longer_and_nobody_else_does(password: Password) -> None:
    clock = Clock()
    access = Access(password, clock)
    fails(access, 5)
    waits = []
    for _ in range(10):
        # Even the password is not tried.
        with pytest.raises(TooManyFailuresError) as caught:
            access.log_in(GOOD, "192.168.1.7")
        waits.append(caught.value.wait_s)
        clock.now += caught.value.wait_s
        fails(access, 1)
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert access.log_in(GOOD, "192.168.1.8")
    clock.now += 300
    assert access.log_in(GOOD, "192.168.1.7")
    fails(access, 5)


def test_a_network_of_many_addresses_is_one_guesser(password: Password) -> None:
    access = Access(password, Clock())
    fails(access, 5, "2001:db8:1:2::1")
    with pytest.raises(TooManyFailuresError):
        access.log_in(GOOD, "2001:db8:1:2:3:4:5:6")
    assert access.log_in(GOOD, "2001:db8:1:3::1")


def test_old_failures_are_forgotten(password: Password) -> None:
    clock = Clock()
    access = Access(password, clock)
    fails(access, 5)
    clock.now += 4000
    fails(access, 5)


@pytest.mark.parametrize("host", ["192.168.1.5:8780", "[fe80::1]:8780", "Telescope.Example.", "localhost"])
def test_where_others_connect_addresses_and_given_names_are_answered(host: str) -> None:
    assert host in Names(others=True, further=["telescope.example"])


@pytest.mark.parametrize(
    "host", ["evil.example", "telescope.example.evil.example", "a@192.168.1.5", "192.168.1.5x", ""]
)
def test_a_name_that_nobody_gave_is_not(host: str) -> None:
    assert host not in Names(others=True, further=["telescope.example"])


@pytest.mark.parametrize("name", ["", "http://telescope.example", "telescope.example:80", "a/b", "[::1"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a name"):
        Names(others=True, further=[name])
