"""Who a service runs as, on folders that are open, closed and of several owners."""

import os
import pwd
from pathlib import Path

import pytest

from edgegal.device.service.identity import is_open_to_all, runner_of
from edgegal.errors import InputError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that everybody may enter, wherever the tests are run."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o005)
    return tmp_path


def give(path: Path, mode: int, user: str | None = None) -> Path:
    path.mkdir(exist_ok=True)
    path.chmod(mode)
    if user:
        os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    return path


def test_what_everybody_may_read_needs_no_user(place: Path) -> None:
    assert runner_of([give(place / "venv", 0o755)], []) is None


def test_a_closed_folder_on_the_way_closes_what_is_in_it(place: Path) -> None:
    home = give(place / "home", 0o700)
    give(home / "venv", 0o755)
    assert not is_open_to_all(home / "venv")
    home.chmod(0o711)
    assert is_open_to_all(home / "venv")


def test_a_link_is_as_open_as_what_it_leads_to(place: Path) -> None:
    closed = give(place / "closed", 0o700)
    (closed / "python").touch(0o755)
    link = place / "python"
    link.symlink_to(closed / "python")
    assert not is_open_to_all(link)


@as_root
def test_a_private_home_is_run_by_its_owner(place: Path) -> None:
    home = give(place / "home", 0o700, "daemon")
    assert runner_of([give(home / "venv", 0o755, "daemon")], []) == "daemon"


@as_root
def test_an_output_folder_is_written_by_its_owner(place: Path) -> None:
    assert runner_of([], [give(place / "nights", 0o755, "daemon")]) == "daemon"


@as_root
def test_folders_of_two_users_are_refused_by_name(place: Path) -> None:
    nights, home = give(place / "nights", 0o755, "daemon"), give(place / "home", 0o700, "games")
    with pytest.raises(InputError, match="no one user") as caught:
        runner_of([home], [nights])
    assert "daemon" in caught.value.message
    assert "games" in caught.value.message


@as_root
def test_nothing_runs_as_root(place: Path) -> None:
    with pytest.raises(InputError, match="root"):
        runner_of([give(place / "closed", 0o700)], [])
    with pytest.raises(InputError, match="root"):
        runner_of([], [give(place / "nights", 0o755)])


def test_an_output_folder_that_is_not_there_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        runner_of([], [place / "absent"])
