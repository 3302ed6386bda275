import contextlib
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegal.bundle import open_bundle, pack, verify
from edgegal.errors import BundleError, InputError


def flip(path, at=-1):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def archive_of(path, members):
    """A zip of names to bytes, whatever the names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members:
            zipped.writestr(name, content)
    return path


@pytest.fixture
def packed(bundle, tmp_path):
    return pack(bundle, tmp_path / "galaxies.edgegal")


def record(bundle, path):
    return next(r for r in bundle.manifest.files() if r.path == path)


# --- folders


def test_a_sound_bundle_has_no_problems(bundle):
    assert verify(bundle) == []
    variant = bundle.manifest.detector.variants[0]
    assert open_bundle(bundle.root).model_path(variant) == bundle.root / "detector/net.xml"


@pytest.mark.parametrize("at", [0, 2000, -1])
def test_one_flipped_byte_is_found_and_never_loaded(bundle, at):
    """In the second file of the variant, which no runtime is told of by name."""
    flip(bundle.root / "detector/net.bin", at)
    assert verify(bundle) == [f"{bundle.root}/detector/net.bin was changed: its SHA-256 is not the manifest's"]
    with pytest.raises(BundleError, match=r"net\.bin was changed"):
        bundle.model_path(bundle.manifest.detector.variants[0])


def test_a_file_cut_short_is_found(bundle):
    path = bundle.root / "detector/net.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(bundle) == [f"{path} has 3999 bytes, the manifest says 4000"]


def test_a_missing_file_is_found(bundle):
    (bundle.root / "evaluation/0.png").unlink()
    assert verify(bundle) == [f"{bundle.root}/evaluation/0.png is missing from the bundle"]
    with pytest.raises(BundleError, match="is missing"):
        bundle.path(record(bundle, "evaluation/0.png"))


def test_a_folder_in_place_of_a_file_is_found(bundle):
    path = bundle.root / "evaluation/0.png"
    path.unlink()
    path.mkdir()
    assert verify(bundle) == [f"{path} is missing from the bundle"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found(bundle, data):
    """In the manifest and the card too, where many flips leave valid JSON and valid figures."""
    path = data.draw(st.sampled_from(sorted(p for p in bundle.root.rglob("*") if p.is_file())))
    whole = path.read_bytes()
    position, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        try:
            same = open_bundle(bundle.root)
        except BundleError:
            return
        # White space between the manifest's tokens says nothing.
        assert verify(same) or (path.name == "bundle.json" and same.manifest == bundle.manifest)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["extra.xml", ".hidden", "detector/extra.bin", "new/extra"])
def test_a_file_the_manifest_does_not_know_is_found(bundle, name):
    path = bundle.root / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert verify(bundle) == [f"{path} is not in the manifest"]


@pytest.mark.parametrize("target", ["file", "folder", "nowhere"])
def test_a_link_the_manifest_does_not_know_is_found(bundle, tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (bundle.root / "link").symlink_to(tmp_path / target)
    assert verify(bundle) == [f"{bundle.root}/link is not in the manifest"]


def test_a_link_out_of_the_bundle_is_not_followed_though_its_hash_is_right(bundle, tmp_path):
    inside, outside = bundle.root / "classifier", tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert all("is a link that leaves the bundle" in problem for problem in verify(bundle)[:2])
    with pytest.raises(BundleError, match="leaves the bundle"):
        bundle.path(record(bundle, "classifier/a.xml"))


def test_a_card_that_links_elsewhere_is_found(bundle, tmp_path):
    (tmp_path / "secret").write_text("x")
    (bundle.root / "CARD.md").unlink()
    (bundle.root / "CARD.md").symlink_to(tmp_path / "secret")
    assert verify(bundle) == [f"{bundle.root}/CARD.md is a link that leaves the bundle"]


def test_nothing_there_and_nothing_in_it_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no bundle at"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json"):
        open_bundle(tmp_path)
    (tmp_path / "bundle.json").mkdir()
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(tmp_path)


# --- archives


def test_packing_and_opening_gives_the_same_sound_bundle(bundle, packed):
    opened = open_bundle(packed)
    assert opened.manifest == bundle.manifest
    assert verify(opened) == []
    for one in bundle.manifest.files():
        assert opened.path(one).read_bytes() == bundle.path(one).read_bytes()
    assert (opened.root / "CARD.md").read_text().startswith("# noise 1\n")


def test_equal_bundles_pack_to_equal_bytes(bundle, packed, tmp_path):
    for path in bundle.root.rglob("*"):
        os.utime(path, (0, 1_000_000_000))
        path.chmod(0o700)
    assert pack(bundle, tmp_path / "again.edgegal").read_bytes() == packed.read_bytes()
    assert pack(open_bundle(packed), tmp_path / "third.edgegal").read_bytes() == packed.read_bytes()


def test_packing_into_the_bundle_itself_does_not_pack_the_archive(bundle, packed):
    inside = pack(bundle, bundle.root / "x.edgegal")
    assert inside.read_bytes() == packed.read_bytes()


def test_a_damaged_bundle_is_not_packed_and_nothing_is_left(bundle, tmp_path):
    flip(bundle.root / "detector/net.bin")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BundleError, match=r"is not sound: .*net\.bin was changed"):
        pack(bundle, out / "x.edgegal")
    assert list(out.iterdir()) == []


def test_messages_name_the_archive_and_not_the_folder_it_was_unpacked_to(packed):
    opened = open_bundle(packed)
    flip(opened.root / "detector/net.bin")
    (problem,) = verify(opened)
    assert problem.startswith(f"{packed}/detector/net.bin was changed")


def refused(path, match, temporary_folders):
    with pytest.raises(BundleError, match=match) as error:
        open_bundle(path)
    assert str(path) in error.value.message
    assert "\n" not in error.value.message
    assert list(temporary_folders.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "a/../../escaped", "..\\escaped", "detector/../../../escaped"]
)
def test_a_member_that_escapes_is_refused(tmp_path, temporary_folders, name):
    path = archive_of(tmp_path / "x.edgegal", [("bundle.json", "{}"), (name, "x")])
    refused(path, "unsafe path", temporary_folders)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_member_that_is_a_link_is_refused(tmp_path, temporary_folders):
    link = zipfile.ZipInfo("detector")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(archive_of(tmp_path / "x.edgegal", [(link, "/etc")]), "unsafe path 'detector'", temporary_folders)


def test_a_bomb_by_declared_size_is_refused_before_it_unpacks(tmp_path, temporary_folders):
    path = tmp_path / "x.edgegal"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped, zipped.open("zeros", "w") as member:
        for _ in range(513):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    refused(path, "more than a bundle may hold", temporary_folders)


def test_a_bomb_by_number_is_refused(tmp_path, temporary_folders):
    path = archive_of(tmp_path / "x.edgegal", [(f"{i}", "") for i in range(5001)])
    refused(path, "more than a bundle may hold", temporary_folders)


def test_a_member_that_lies_about_its_size_is_not_unpacked_beyond_it(tmp_path, temporary_folders):
    path = archive_of(tmp_path / "x.edgegal", [("zeros", bytes(10**7))])
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 10**7), struct.pack("<I", 10)))
    refused(path, "not a readable .edgegal file", temporary_folders)


def test_a_name_held_twice_is_refused(tmp_path, temporary_folders):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive_of(tmp_path / "x.edgegal", [("bundle.json", "{}"), ("bundle.json", "[]")])
    refused(path, "one name twice", temporary_folders)


def test_a_file_that_is_also_a_folder_is_refused(tmp_path, temporary_folders):
    refused(archive_of(tmp_path / "x.edgegal", [("a", "x"), ("a/b", "x")]), "cannot be unpacked", temporary_folders)


@pytest.mark.parametrize("content", [b"", b"Once upon a time\n" * 100, b"PK\x03\x04", b"PK\x05\x06"])
def test_a_file_that_is_no_zip_is_refused(tmp_path, temporary_folders, content):
    path = tmp_path / "x.edgegal"
    path.write_bytes(content)
    refused(path, "not a readable .edgegal file", temporary_folders)


def test_a_zip_of_something_else_is_refused(tmp_path, temporary_folders):
    refused(archive_of(tmp_path / "x.edgegal", [("letter.txt", "x")]), r"it has no bundle\.json", temporary_folders)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(packed, temporary_folders, share):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(share * len(data))])
    refused(packed, "not a readable .edgegal file", temporary_folders)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_any_changed_byte_of_an_archive_is_an_error_or_harmless(bundle, packed, place, value, temporary_folders):
    """Never another exception, and never files that differ from what the manifest says."""
    data = bytearray(packed.read_bytes())
    data[int(place * len(data))] ^= value
    damaged = packed.with_name("damaged.edgegal")
    damaged.write_bytes(data)
    before = set(temporary_folders.iterdir())
    try:
        opened = open_bundle(damaged)
    except BundleError:
        assert set(temporary_folders.iterdir()) == before
        return
    for one in opened.manifest.files():
        with contextlib.suppress(BundleError):
            assert opened.path(one).read_bytes() == (bundle.root / one.path).read_bytes()


def test_the_unpacked_folder_goes_with_the_process(packed, temporary_folders):
    script = (
        "import sys; from pathlib import Path; from edgegal.bundle import open_bundle\n"
        "print(open_bundle(Path(sys.argv[1])).root)"
    )
    environment = {**os.environ, "TMPDIR": str(temporary_folders)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(packed)], env=environment, check=True, capture_output=True, text=True
    )
    assert Path(done.stdout.strip()).parent == temporary_folders
    assert list(temporary_folders.iterdir()) == []
