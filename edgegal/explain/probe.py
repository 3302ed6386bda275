"""Look into a network, and move a feature map inside it, without taking it apart.

A layer's ``call`` is wrapped while the network runs. So every layer can be reached, inside nested models and beside
shortcuts too, which no network cut in two at that layer would allow.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgegal.errors import InputError
from edgegal.explain.grid import PIXELS, Grid, after, covering

__all__ = ["CONVOLUTIONS", "POOLINGS", "Site", "chosen_site", "map_sites", "overridden", "recorded", "survey"]

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)
POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


@dataclass(frozen=True)
class Site:
    """A layer in its place.

    Attributes
    ----------
    path
        Its name; that of a nested model and a slash before it where it stands in one.
    layer
        The Keras layer.
    shape
        Of what it gives for one picture: ``(rows, columns, channels)`` for maps.
    grid
        Where the cells of its maps lie in the network's input.
    """

    path: str
    layer: Any
    shape: tuple[int, ...]
    grid: Grid

    @property
    def gives_maps(self) -> bool:
        """Whether it gives maps of more than one cell."""
        return len(self.shape) == 3 and self.shape[0] * self.shape[1] > 1


def _leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        elif not isinstance(layer, layers.InputLayer):
            yield f"{prefix}{layer.name}", layer


@contextmanager
def overridden(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Let a layer answer with ``call(answer, *inputs)`` in place of its answer."""
    original = layer.call

    def wrapped(*inputs: Any, **options: Any) -> Any:
        return call(original(*inputs, **options), *inputs)

    # Past Keras's own __setattr__, which keeps account of what layers are made of.
    layer.__dict__["call"] = wrapped
    try:
        yield
    finally:
        del layer.__dict__["call"]


def survey(model: keras.Model) -> tuple[Site, ...]:
    """All layers of a network in the order they run, nested ones included; one that runs twice stands at its last."""
    size = tuple(int(side) for side in model.inputs[0].shape[1:])
    picture = keras.ops.zeros((1, *size))
    sites: dict[str, Site] = {}
    # Tensors by identity: kept here, so that no identity is given twice.
    grids: dict[int, tuple[Any, Grid]] = {}
    latest = {size[0]: PIXELS}

    def noted(path: str, layer: Any) -> Callable[..., Any]:
        def note(answer: Any, *inputs: Any) -> Any:
            extent = int(_first(inputs).shape[1]) if len(_first(inputs).shape) == 4 else 0
            # What no layer made, a resized picture say, is taken to show all of it.
            unknown = covering(size[0], extent) if extent else PIXELS
            grid = next((grids[id(t)][1] for t in _tensors(inputs) if id(t) in grids), latest.get(extent, unknown))
            shape = tuple(int(n) for n in answer.shape[1:])
            if len(shape) == 3:
                grid = after(layer, grid, extent)
                grids[id(answer)] = (answer, grid)
                latest[shape[0]] = grid
            sites.pop(path, None)
            sites[path] = Site(path, layer, shape, grid)
            return answer

        return note

    with ExitStack() as stack:
        for path, layer in _leaves(model):
            stack.enter_context(overridden(layer, noted(path, layer)))
        model(picture, training=False)
    return tuple(sites.values())


def _tensors(inputs: tuple[Any, ...]) -> Iterator[Any]:
    for each in inputs:
        yield from each if isinstance(each, (list, tuple)) else (each,)


def _first(inputs: tuple[Any, ...]) -> Any:
    return next(_tensors(inputs))


def map_sites(model: keras.Model) -> tuple[Site, ...]:
    """Layers from the first convolution on that give feature maps.

    Raises
    ------
    InputError
        The network has no convolution, or its maps have one cell.
    """
    sites = survey(model)
    first = next((i for i, site in enumerate(sites) if isinstance(site.layer, CONVOLUTIONS)), None)
    if first is None:
        raise InputError(
            f"the network {model.name} has no convolution, so no feature maps", "explain a convolutional network"
        )
    found = tuple(site for site in sites[first:] if site.gives_maps)
    if not found:
        raise InputError(f"the feature maps of the network {model.name} have one cell", "explain one with larger maps")
    return found


def chosen_site(sites: tuple[Site, ...], layer: str) -> Site:
    """The site called `layer`, by its path or, where only one has it, by its name alone.

    Raises
    ------
    InputError
        There is none, or several; the mend lists all.
    """
    found = [s for s in sites if s.path == layer] or [s for s in sites if s.path.rpartition("/")[2] == layer]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} layers are called {layer!r}" if found else f"no feature maps from a layer {layer!r}"
    raise InputError(problem, f"use one of: {', '.join(s.path for s in found or sites)}")


def recorded(model: keras.Model, sites: tuple[Site, ...], batch: NDArray[np.float32]) -> tuple[Any, list[Any]]:
    """What the network and each site give for a batch ``(n, h, w, 3)``, 0-255, as tensors; gradients flow through.

    Of a network that looks at each picture several times (`edgegal.models.classifier.compact_network`), a site gives
    the maps of all looks, those at whole pictures first.
    """
    answers: dict[str, Any] = {}

    def kept(path: str) -> Callable[..., Any]:
        def keep(answer: Any, *_: Any) -> Any:
            answers[path] = answer
            return answer

        return keep

    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(overridden(site.layer, kept(site.path)))
        given = model(batch, training=False)
    return given, [answers[site.path] for site in sites]
