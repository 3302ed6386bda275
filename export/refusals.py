"""What exporters cannot do, said as one error that names the operation and the mend."""

import difflib
from collections.abc import Collection, Iterable

from edgegal.benchmarks.layers.names import named, shortened
from edgegal.errors import InputError
from edgegal.export.registry import Order

__all__ = ["kept_operations", "unfixed_output", "unsupported"]


def unsupported(format: str, operations: Iterable[tuple[str, str]]) -> InputError:
    """The error for operations that a format does not have.

    Parameters
    ----------
    format
        The format.
    operations
        Kind and path in the graph of each, such as ``("Svd", "functional_1/compact_1/rotate_1/Svd")``; the path may be
        empty.
    """
    named = dict.fromkeys(f"{kind} (layer {_layer(path)})" if path else kind for kind, path in operations)
    return InputError(
        f"{format} has no operation for {', '.join(named)}",
        "replace the layer, or leave this format out with --format",
    )


def _layer(path: str) -> str:
    """The layer that an operation belongs to: Keras numbers calls of layers, and exporters call each once."""
    *scopes, operation = path.split("/")
    called = [scope.removesuffix("_1") for scope in scopes if scope.endswith("_1")]
    return (called or scopes or [operation])[-1]


def unfixed_output(format: str, name: str) -> InputError:
    """The error for an output whose shape depends on the picture."""
    return InputError(
        f"output {name!r} has no fixed shape, which {format} files of edgegal need",
        "build the model with a fixed input size, and select among its answers outside of it",
    )


def kept_operations(order: Order, format: str, known: Collection[str]) -> list[str]:
    """The operations that `order` leaves in float: each named in full, or by a scope that only it has.

    Parameters
    ----------
    order
        What is asked for.
    format
        The format it is asked of.
    known
        Names of the operations of the float network in this format.

    Raises
    ------
    InputError
        The network has no such operation, or several.
    """
    kept: dict[str, None] = {}
    short = shortened(known)
    for word in order.keep_float:
        found = named(word, known)
        if len(found) != 1:
            close = found or [k for k in known if word in k] or difflib.get_close_matches(word, known, cutoff=0.5)
            # What converters fused has names too long for a message.
            words = [repr(short[name] if ";" in name else name) for name in close[:3]] or list(short.values())
            many = f"has {len(found)} operations" if found else "has no operation"
            raise InputError(
                f"the float {format} {order.network.stage} {many} {word!r}",
                f"did you mean {' or '.join(words)}?" if close else f"it has {', '.join(words)}",
            )
        kept[found[0]] = None
    return list(kept)
