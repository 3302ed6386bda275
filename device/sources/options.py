"""Options in the address of a source: ``?exposure=2&gain=100``."""

from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError

from edgegal.errors import InputError

__all__ = ["Options", "parse_options", "split_options"]


class Options(BaseModel):
    """Options of one kind of source; nothing else is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Chosen = TypeVar("Chosen", bound=Options)


def split_options(address: str) -> tuple[str, str]:
    """What stands before the first question mark of an address, and what after it."""
    place, _, text = address.partition("?")
    return place, text


def parse_options(text: str, kind: type[Chosen], source: str, separator: str = "&") -> Chosen:
    """Read ``name=value`` pairs; a name alone switches something on.

    Parameters
    ----------
    text
        The pairs; may be empty.
    kind
        The options there are.
    source
        Whose options these are, for the error.
    separator
        What stands between the pairs.

    Raises
    ------
    InputError
        An option is unknown or out of its range.
    """
    values = {name: value or "true" for name, value in parse_qsl(text, keep_blank_values=True, separator=separator)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields)
        if first["type"] == "extra_forbidden":
            raise InputError(f"{source} has no option {name!r}", f"options: {known}") from error
        said = f"{source} {name}={values.get(name, '')!r}: {first['msg'].lower()}"
        raise InputError(said, f"give {name}= {_wanted(kind, name)}") from error


def _wanted(kind: type[Options], name: str) -> str:
    """What an option takes, in words."""
    schema: dict[str, Any] = kind.model_json_schema()["properties"][name]
    schema = schema | schema.get("anyOf", [{}])[0]
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if schema["type"] == "boolean":
        return "1 or 0"
    if schema["type"] == "string":
        return f"{schema['minLength']} characters"
    words = "a whole number" if schema["type"] == "integer" else "a number"
    if "exclusiveMinimum" in schema:
        words += f" above {schema['exclusiveMinimum']:g}"
    if "minimum" in schema:
        words += f" from {schema['minimum']:g}"
    if "maximum" in schema:
        words += f" to {schema['maximum']}"
    if "exclusiveMaximum" in schema:
        words += f" to below {schema['exclusiveMaximum']}"
    return words
