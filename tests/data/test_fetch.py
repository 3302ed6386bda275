"""Downloads, from a real server on this machine that can break off, lie and do without ranges."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgegal.data import open_dataset
from edgegal.data.fetch import fetch
from edgegal.data.registry import DATASETS, Dataset
from edgegal.errors import DatasetError

pytestmark = pytest.mark.host

NAME = "Galaxy10.h5"


def galaxy10(path: Path, n: int = 40) -> bytes:
    """A file laid out as Galaxy10 SDSS: compressed ``images`` and ``ans``."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=rng.integers(0, 256, (n, 69, 69, 3), np.uint8), compression="gzip")
        file.create_dataset("ans", data=(np.arange(n) % 10).astype(np.uint8))
    return path.read_bytes()


@dataclass
class Site:
    """What the server has and how it behaves.

    Attributes
    ----------
    ranges
        Answers a range: "right", "none" (always the whole), "wrong" (another piece), "refused" (416).
    breaks_at
        Closes the connection after so many bytes of a body, once.
    claims
        Length it says a body has, when not its own.
    asked
        The ``Range`` of each request, empty for none.
    """

    files: dict[str, bytes]
    ranges: str = "right"
    breaks_at: int | None = None
    claims: int | None = None
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    served = Site({f"/{NAME}": galaxy10(tmp_path / "made.h5")})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            served.asked.append(wanted)
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if wanted and served.ranges == "refused":
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            partial = wanted and served.ranges != "none"
            if served.ranges == "wrong":
                start = max(0, start - 7)
            body = content[start:] if partial else content
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(served.claims or len(body)))
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if served.breaks_at is not None:
                body, served.breaks_at = body[: served.breaks_at], None
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def galaxies(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Galaxy10 SDSS with the checksum of the small file."""
    monkeypatch.setenv("EDGEGAL_DATA", str(tmp_path / "data"))
    known = DATASETS["galaxy10_sdss"]
    checksum = f"sha256:{hashlib.sha256(site.files[f'/{NAME}']).hexdigest()}"
    return replace(known, files=(replace(known.files[0], checksum=checksum),))


def lying_in(dataset: Dataset) -> list[str]:
    return sorted(p.name for p in dataset.folder.iterdir())


def test_a_whole_download_can_be_opened_and_is_not_done_twice(site: Site, galaxies: Dataset) -> None:
    told: list[tuple[str, int, int | None]] = []
    (got,) = fetch(galaxies, site.address, lambda *now: told.append(now))
    content = site.files[f"/{NAME}"]
    assert got.new
    assert got.path.read_bytes() == content
    assert told[-1] == (NAME, len(content), len(content))
    assert lying_in(galaxies) == [NAME]
    pictures = open_dataset("galaxy10_sdss")
    assert len(pictures) == 40
    assert pictures.pictures().shape == (40, 69, 69, 3)
    (again,) = fetch(galaxies, site.address)
    assert not again.new
    assert site.asked == [""]


@pytest.mark.parametrize("mirror", ["", "/", f"/{NAME}"])
def test_a_mirror_is_a_folder_or_the_file(site: Site, galaxies: Dataset, mirror: str) -> None:
    assert fetch(galaxies, site.address + mirror)[0].new


def break_off(site: Site, galaxies: Dataset) -> int:
    """Bytes that are there after the connection broke off at 200,000."""
    site.breaks_at = 200_000
    with pytest.raises(DatasetError) as caught:
        fetch(galaxies, site.address)
    assert lying_in(galaxies) == [f"{NAME}.part"]
    kept = (galaxies.folder / f"{NAME}.part").stat().st_size
    assert 100_000 < kept <= 200_000
    assert f"{kept:,} bytes are kept" in caught.value.mend
    return kept


def test_a_broken_download_goes_on_where_it_broke(site: Site, galaxies: Dataset) -> None:
    kept = break_off(site, galaxies)
    told: list[int] = []
    (got,) = fetch(galaxies, site.address, lambda _, done, __: told.append(done))
    assert site.asked == ["", f"bytes={kept}-"]
    assert told[0] > kept
    assert got.path.read_bytes() == site.files[f"/{NAME}"]
    assert lying_in(galaxies) == [NAME]


@pytest.mark.parametrize(("ranges", "requests"), [("none", 2), ("wrong", 3), ("refused", 3)])
def test_a_server_that_cannot_go_on_is_asked_for_the_whole(
    site: Site, galaxies: Dataset, ranges: str, requests: int
) -> None:
    break_off(site, galaxies)
    site.ranges = ranges
    assert fetch(galaxies, site.address)[0].path.read_bytes() == site.files[f"/{NAME}"]
    assert len(site.asked) == requests


def test_without_a_checksum_nothing_is_resumed(site: Site, galaxies: Dataset) -> None:
    """Two halves of different files would pass for a whole."""
    unknown = replace(galaxies, files=(replace(galaxies.files[0], checksum=None),))
    unknown.folder.mkdir(parents=True)
    (unknown.folder / f"{NAME}.part").write_bytes(b"half of something else")
    (got,) = fetch(unknown, site.address)
    assert got.path.read_bytes() == site.files[f"/{NAME}"]
    assert got.checksum == galaxies.files[0].checksum
    assert site.asked == [""]


def test_a_wrong_checksum_is_named_and_the_file_removed(site: Site, galaxies: Dataset) -> None:
    site.files[f"/{NAME}"] = b"something else"
    with pytest.raises(DatasetError, match="it was removed") as caught:
        fetch(galaxies, site.address)
    assert galaxies.files[0].checksum in caught.value.message
    assert "--url" in caught.value.mend
    assert lying_in(galaxies) == []


def test_a_stale_half_spoils_one_try_only(site: Site, galaxies: Dataset) -> None:
    galaxies.folder.mkdir(parents=True)
    (galaxies.folder / f"{NAME}.part").write_bytes(b"x" * 100)
    with pytest.raises(DatasetError, match="checksum"):
        fetch(galaxies, site.address)
    assert fetch(galaxies, site.address)[0].new


def test_a_damaged_file_is_fetched_anew(site: Site, galaxies: Dataset) -> None:
    path = fetch(galaxies, site.address)[0].path
    path.write_bytes(path.read_bytes()[:5000])
    assert fetch(galaxies, site.address)[0].new
    assert path.read_bytes() == site.files[f"/{NAME}"]


def test_no_server_and_no_file_are_said_plainly(site: Site, galaxies: Dataset) -> None:
    with pytest.raises(DatasetError, match="Connection refused") as caught:
        fetch(galaxies, "http://127.0.0.1:9")
    assert "check the network" in caught.value.mend
    site.files.clear()
    with pytest.raises(DatasetError, match="404"):
        fetch(galaxies, site.address)
    assert lying_in(galaxies) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, the disk that is always full")
def test_a_full_disk_is_said_plainly(site: Site, galaxies: Dataset) -> None:
    galaxies.folder.mkdir(parents=True)
    (galaxies.folder / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=os.strerror(errno.ENOSPC)) as caught:
        fetch(galaxies, site.address)
    assert "EDGEGAL_DATA" in caught.value.mend


def test_what_cannot_fit_is_refused_before_it_is_written(site: Site, galaxies: Dataset) -> None:
    site.claims = 10**18
    with pytest.raises(DatasetError, match=r"GB free, Galaxy10\.h5 needs 1000000000\.0 GB more") as caught:
        fetch(galaxies, site.address)
    assert "EDGEGAL_DATA" in caught.value.mend
    assert lying_in(galaxies) == []


@pytest.mark.parametrize("name", ["gz_challenge", "nair_abraham"])
def test_what_needs_hands_says_where_to_get_it_and_where_to_put_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGAL_DATA", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        fetch(DATASETS[name])
    assert str(tmp_path / name) in caught.value.mend
    assert ("kaggle.com" if name == "gz_challenge" else "VizieR") in caught.value.mend


def test_every_file_that_can_be_fetched_has_an_address() -> None:
    for known in DATASETS.values():
        assert known.shared or known.citation
        assert known.shared or bool(known.files) != bool(known.by_hand)
        for file in known.files:
            assert file.url.startswith("http")
            assert file.url.endswith(file.name)
            kind, _, digits = (file.checksum or "md5:" + "0" * 32).partition(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[kind]
            assert digits == digits.lower()
