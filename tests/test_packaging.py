"""The package as it is built and installed: nothing missing, nothing stray."""

import importlib.util
import re
import zipfile
from pathlib import Path

import pytest

if importlib.util.find_spec("tomllib"):
    import tomllib
else:
    import tomli as tomllib

from edgegal import __version__
from edgegal.device.provisioning import build_wheel

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def folder_of(package: str) -> Path:
    """Source folder of a package, as the mapping says."""
    mapping = SETUPTOOLS["package-dir"]
    parent = max((p for p in mapping if package == p or package.startswith(p + ".")), key=len)
    return ROOT.joinpath(mapping[parent], *package.removeprefix(parent).strip(".").split("."))


def test_the_packages_listed_are_the_folders_with_code() -> None:
    found = {
        path.parent for folder in SETUPTOOLS["package-dir"].values() for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == {folder_of(package) for package in SETUPTOOLS["packages"]}


def test_every_folder_with_modules_is_a_package() -> None:
    for folder in SETUPTOOLS["package-dir"].values():
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_the_version_is_said_once() -> None:
    assert PROJECT["project"]["version"] == __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    name, data = build_wheel(ROOT)
    path = tmp_path_factory.mktemp("wheel") / name
    path.write_bytes(data)
    return zipfile.ZipFile(path)


def test_the_wheel_carries_every_source_and_data_file(wheel: zipfile.ZipFile) -> None:
    expected = set()
    for package in SETUPTOOLS["packages"]:
        source = folder_of(package)
        inside = package.replace(".", "/")
        files = {p for p in source.glob("*") if p.is_file() and p.suffix != ".pyc"}
        # Folders of data have no code in them and belong to the package above.
        for folder in (p for p in source.iterdir() if p.is_dir() and p.name != "__pycache__"):
            if not any(folder.rglob("*.py")):
                files |= {p for p in folder.rglob("*") if p.is_file()}
        expected |= {f"{inside}/{p.relative_to(source)}" for p in files}
    assert expected - set(wheel.namelist()) == set()


def test_the_wheel_puts_nothing_beside_edgegal(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"edgegal", f"edgegal-{__version__}.dist-info"}


@pytest.mark.parametrize("path", sorted((ROOT / "constraints").glob("*.txt")), ids=lambda p: p.stem)
def test_pins_are_versions_and_nothing_else(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    pin = re.compile(r"[a-z0-9.-]+==[0-9a-z.+]+(; python_version (<|>=) '3\.\d+'( and python_version < '3\.\d+')?)?")
    assert lines
    assert [line for line in lines if not pin.fullmatch(line)] == []


def asked_for(extra: str) -> set[str]:
    """Names an extra asks for, those of the extras inside it included."""
    wanted = set()
    for line in PROJECT["project"]["optional-dependencies"][extra]:
        if line.startswith("edgegal["):
            wanted |= {name for inner in line[8:-1].split(",") for name in asked_for(inner)}
        else:
            wanted.add(re.split(r"[^A-Za-z0-9-]", line)[0].lower())
    return wanted


@pytest.mark.parametrize(
    ("pins", "extras"),
    [
        ("device", ("demo", "tflite", "test")),
        ("host", ("all", "dev")),
        ("legacy", ("demo", "tflite-legacy", "test")),
    ],
)
def test_everything_asked_for_is_pinned(pins: str, extras: tuple[str, ...]) -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints" / f"{pins}.txt").read_text().splitlines()}
    assert {name for extra in extras for name in asked_for(extra)} - pinned == set()
