"""One self-contained HTML page: the look that all reports share, and how a file gets into it and onto the disk."""

import base64
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from edgegal.errors import MissingPartError

__all__ = ["data_uri", "render_page", "write_file"]


def data_uri(data: bytes, kind: str) -> str:
    """A picture as part of the page; `kind` is its media type, ``image/png``."""
    return f"data:{kind};base64," + base64.b64encode(data).decode("ascii")


def render_page(
    package: str, template: str, filters: Mapping[str, Callable[[Any], str]], values: Mapping[str, Any]
) -> str:
    """Render a template that extends ``base.html.j2``.

    Parameters
    ----------
    package
        Import name of the package whose data the template is.
    template
        Its file name.
    filters
        Its filters.
    values
        What it is filled with, escaped; one that it names and is not given is an error.

    Raises
    ------
    MissingPartError
        Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingPartError(f"a report needs Jinja2: {error}", "pip install 'edgegal[device]'") from None
    sources = {
        name: resources.files(home).joinpath(name).read_text(encoding="utf-8")
        for home, name in ((package, template), ("edgegal.reports", "base.html.j2"))
    }
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def write_file(path: Path, data: bytes) -> Path:
    """Write a file through a temporary name beside it: it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
