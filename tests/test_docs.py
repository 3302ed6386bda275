"""The documentation: every command in it exists, every link leads somewhere, and no machine's paths stand anywhere."""

import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from edgegal.cli import VERBS

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:edgegal|make) [^`]+)`")
_SHELLS = {"bash", "sh", "shell"}
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


class Command(NamedTuple):
    """A command and the line of the page it stands in."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {' '.join(self.words)}"


class Block(NamedTuple):
    """A fenced block without its fences and indentation."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        indent, language, content = found.groups()
        inner = "\n".join(line.removeprefix(indent) for line in content.splitlines())
        yield Block(page, text.count("\n", 0, found.start()) + 2, language, inner)


def shell_lines(block: Block) -> Iterator[tuple[int, str]]:
    """Numbered command lines, continued ones joined; of a ``console`` block only what follows its prompt."""
    joined, start = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not joined and block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        yield start, joined + line
        joined, start = "", 0


def commands(page: Path, program: str) -> Iterator[Command]:
    """What the page calls `program` with, in fenced blocks and in running text."""
    lines = [line for block in blocks(page) if block.language in _SHELLS | {"console"} for line in shell_lines(block)]
    text = page.read_text(encoding="utf-8")
    prose = _FENCE.sub(lambda found: "\n" * found.group().count("\n"), text)
    lines += [(prose.count("\n", 0, m.start()) + 1, " ".join(m[1].split())) for m in _INLINE.finditer(prose)]
    for number, line in lines:
        for part in re.split(r"&&|\|\|?|;", line):
            words = shlex.split(part, comments=True)
            while words and (words[0] == "sudo" or "=" in words[0]):
                words.pop(0)
            if words and (words[0] == program or words[0].endswith(f"/bin/{program}")):
                yield Command(page, number, tuple(words[1:]))


EDGEGAL = [c for page in PAGES for c in commands(page, "edgegal")]
MAKE = [c for page in PAGES for c in commands(page, "make")]


def parser(verb: str) -> Any:
    """The real parser of a verb."""
    return typer.main.get_command(importlib.import_module(f"edgegal.cli.{verb}").app)


def problem(words: Sequence[str]) -> str:
    """What the command line would refuse; empty when it takes the words. Verbs are not run."""
    words = [word for word in words if word not in {"-v", "--verbose"}]
    verb = words[0] if words else ""
    if verb in {"--help", "--version"}:
        return ""
    if verb not in VERBS:
        return f"no verb {verb!r}"
    command, rest = parser(verb), list(words[1:])
    inner = getattr(command, "commands", None)
    if inner is not None:
        if not rest or rest[0] == "--help":
            return ""
        # Running text may list them: ``edgegal bundle info|verify``.
        missing = [name for name in rest[0].split("|") if name not in inner]
        if missing:
            return f"edgegal {verb} has no {missing[0]}"
        command, rest = inner[rest[0].split("|")[0]], rest[1:]
    options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
    places = 0
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-":
            places += 1
        elif name == "--help":
            continue
        elif name not in options:
            return f"no option {name}"
        elif not options[name].is_flag and not equals:
            if not rest:
                # Running text may name an option without a value.
                continue
            rest.pop(0)
    arguments = [p for p in command.params if not any(name.startswith("-") for name in p.opts)]
    if places > len(arguments) and not any(p.nargs == -1 for p in arguments):
        return f"{places} arguments where {len(arguments)} are taken"
    return ""


def targets() -> set[str]:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    return {name for line in lines if line.startswith(".PHONY:") for name in line.split()[1:]}


def test_the_readme_and_the_guides_show_commands() -> None:
    assert {c.page for c in EDGEGAL} >= {ROOT / "README.md", *(ROOT / "docs" / "guides").glob("*.md")}
    assert {c.words[0] for c in EDGEGAL if c.page == ROOT / "README.md"} >= set(VERBS)
    assert {c.words[0] for c in MAKE if c.page == ROOT / "README.md"} >= {"demo", "test"}


@pytest.mark.parametrize("command", EDGEGAL, ids=str)
def test_every_command_of_the_documentation_parses(command: Command) -> None:
    assert problem(command.words) == ""


def test_every_option_named_in_running_text_is_one_of_some_verb() -> None:
    known = {"--verbose", "--version", "--help"}
    for verb in VERBS:
        command = parser(verb)
        for inner in getattr(command, "commands", {"": command}).values():
            known |= {name for p in inner.params for name in (*p.opts, *p.secondary_opts)}
    prose = "\n".join(_FENCE.sub("", page.read_text(encoding="utf-8")) for page in PAGES)
    assert set(re.findall(r"`(--[a-z-]+)", prose)) <= known


@pytest.mark.parametrize(
    "words",
    [
        "no-such-verb",
        "bundle inspect",
        "run sim: --colour red",
        "bench a b",
        "train classifier --datum x",
        "data lists",
    ],
)
def test_a_command_that_is_not_there_is_found(words: str) -> None:
    assert problem(words.split()) != ""


@pytest.mark.parametrize("command", MAKE, ids=str)
def test_every_target_of_the_documentation_exists(command: Command) -> None:
    asked = {word for word in command.words if "=" not in word}
    assert asked <= targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_relative_link_and_picture_is_there(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [first or second for first, second in _LINK.findall(text)]
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        goal = (page.parent / path).resolve() if path else page
        outside = ROOT not in (goal, *goal.parents)
        if outside or not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Anchors that headings get: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_another() -> None:
    linked = set()
    for page in PAGES:
        for first, second in _LINK.findall(page.read_text(encoding="utf-8")):
            goal = (page.parent / (first or second).partition("#")[0]).resolve()
            linked |= {goal, *(goal.glob("*.md") if goal.is_dir() else ())} - {page}
    unlinked = {page.relative_to(ROOT).as_posix() for page in PAGES if page not in linked}
    assert unlinked <= {"README.md", "CHANGELOG.md"}


@pytest.mark.parametrize(
    "block",
    [b for page in PAGES for b in blocks(page) if b.language == "python"],
    ids=lambda b: f"{b.page.name}:{b.line}",
)
def test_every_piece_of_python_compiles(block: Block) -> None:
    compile(block.text, f"{block.page.name}:{block.line}", "exec")


# Homes, checkouts and temporary folders of whoever wrote a file; `$` and capitals mark a placeholder.
_SOMEBODYS_PATH = re.compile(r"(?<![\w.$~-])(?<!\w/)/(?:work|root|tmp|home|Users|mnt|workspace|builds)/[a-z0-9_.-]+")
# A path that leaves a bundle, for the test that it is refused, and for this table.
_ESCAPED = "/tmp/escaped"
# Paths of made-up computers, in the tests of services.
_MADE_UP = {
    "/home/me": "tests/device/service/test_unit.py",
    "/home/observer": "tests/peers/service/test_service.py",
    "/root/edgegal-was-here": "tests/peers/service/test_service.py",
    "/mnt/before": "tests/peers/service/systemd_machine",
}
_ALLOWED = {
    *((f"tests/{name}.py", _ESCAPED) for name in ("bundle/test_store", "test_docs")),
    *((file, path) for path, file in _MADE_UP.items()),
    *(("tests/test_docs.py", path) for path in _MADE_UP),
}


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_no_path_of_somebodys_machine_stands_in_a_tracked_file() -> None:
    found = set()
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found |= {(path.relative_to(ROOT).as_posix(), hit) for hit in _SOMEBODYS_PATH.findall(text)}
    assert found - _ALLOWED == set()


@pytest.mark.parametrize("top", ["work", "root", "tmp", "home", "Users"])
@pytest.mark.parametrize("before", ["see ", '"', "file://", "=", "("])
def test_a_path_of_a_machine_is_found(top: str, before: str) -> None:
    assert _SOMEBODYS_PATH.search(f"{before}/{top}/ada/sky.fits")


@pytest.mark.parametrize("text", ["~/.ssh/id", "/home/$USER", "a/tmp/b", "https://host.example/home/page", "/srv/x"])
def test_other_paths_are_left_alone(text: str) -> None:
    assert not _SOMEBODYS_PATH.search(text)
