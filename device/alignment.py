"""A frame as a stack sees it: moved to the places of the first frame, part by part.

A Bayer frame is not demosaiced first: each colour is interpolated once, from its own pixels to those of the stack.
Coordinates count as ``cv2.warpAffine`` does: 0, 0 is the middle of the top-left pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.registration import Motion
from edgegal.frames import Frame

__all__ = ["Aligned", "Band"]

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]

# OpenCV interpolates at so many places from one pixel to the next.
_INTERPOLATED = 32
# Rows beyond those that are reached: the next, with which is interpolated, and one for rounding.
_MARGIN_ROWS = 2
# x and y in the Bayer cell, row by row.
_CELL = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])


class Band(Protocol):
    """Some rows of a frame as the stack sees it, ready to be moved."""

    def rows(self, top: int, bottom: int) -> list[Array]:
        """``(bottom - top, w)`` of each channel: those rows; NaN where the frame does not cover them.

        They are the caller's.
        """


class Aligned:
    """A frame seen from the stack.

    Parameters
    ----------
    frame
        Raw or demosaiced.
    motion
        Where the stack's places lie in it.
    """

    def __init__(self, frame: Frame, motion: Motion) -> None:
        self._pixels = frame.pixels
        self._size = frame.size
        self._bayer = frame.bayer if frame.is_mosaic else None
        self._still = np.array_equal(motion.matrix, np.eye(2, 3))
        self._matrix = motion.for_opencv
        whole_cells = self._bayer is not None and not any(side % 2 for side in frame.size)
        self._shifts = _whole_shifts(self._matrix) if whole_cells else None
        # Of each channel those that it is the mean of.
        self._channels: list[list[_Place]]
        if self._bayer:
            places = [[i for i, colour in enumerate(self._bayer) if colour == wanted] for wanted in "RGB"]
            self._channels = [[_Place.of_mosaic(frame.pixels, i, self._matrix) for i in those] for those in places]
        else:
            planes = [frame.pixels] if frame.pixels.ndim == 2 else np.moveaxis(frame.pixels, 2, 0)
            self._channels = [[_Place(plane, self._matrix, border=0)] for plane in planes]

    def sample(self, step: int) -> list[Array]:
        """Every `step`-th pixel of every `step`-th row of the stack, of each channel; NaN as in a band."""
        width, height = self._size
        corner, size = _corner(0, 0, step), (-(-width // step), -(-height // step))
        return [_mean([place.at(corner, size) for place in places]) for places in self._channels]

    def band(self, top: int, bottom: int, offset: Array) -> Band:
        """Rows of the stack, with each channel lifted by its `offset`."""
        if self._bayer is None and self._still:
            return _Still(top, [place.cells[top:bottom] for (place,) in self._channels], offset)
        if self._shifts is not None:
            return self._cells(top, bottom, offset, self._shifts)
        width = self._size[0]
        planes = [
            [place.band(top, bottom, width, more) for place in places]
            for places, more in zip(self._channels, offset, strict=True)
        ]
        return _Apart(width, planes)

    def _cells(self, top: int, bottom: int, offset: Array, shifts: NDArray[np.intp]) -> "_Cells":
        assert self._bayer is not None
        colours = ["RGB".index(colour) for colour in self._bayer]
        width, height = self._size
        matrix = self._matrix / 2
        # From where the last of the four is seen at the first pixel, to where the first is at the last.
        corner, beyond = -shifts.max(axis=0), -shifts.min(axis=0)
        columns, rows = (corner[0], width + beyond[0]), (top + corner[1], bottom + beyond[1])
        first, last = _reached(matrix, columns, rows, height // 2)
        # Two neighbours are one complex number: copied together, which is faster.
        pixels = np.ascontiguousarray(self._pixels[2 * first : 2 * last], np.float32).view(np.complex64)
        cells = np.empty((last - first + 2, width // 2 + 2, 4), np.float32)
        pairs = cells.view(np.complex64)
        for row in (0, 1):
            west, east = (offset[colours[2 * row + column]] for column in (0, 1))
            np.add(pixels[row::2], np.complex64(complex(west, east)), out=pairs[1:-1, 1:-1, row])
        _bordered(cells)
        matrix[:, 2] += 1 - np.array((0, first))
        starts = [(int(x), int(y)) for x, y in -corner - shifts]
        return _Cells(cells, matrix, (int(corner[0]), int(corner[1])), starts, colours, width)


@dataclass(frozen=True)
class _Still:
    """Rows of a frame that has not moved."""

    first: int
    planes: Sequence[NDArray[Any]]
    offset: Array

    def rows(self, top: int, bottom: int) -> list[Array]:
        wanted = np.s_[top - self.first : bottom - self.first]
        return [
            np.add(plane[wanted], more, dtype=np.float32) for plane, more in zip(self.planes, self.offset, strict=True)
        ]


@dataclass(frozen=True)
class _Apart:
    """Each channel, or each place in the Bayer cell, moved by itself."""

    width: int
    channels: Sequence[Sequence[tuple[Array, Matrix]]]

    def rows(self, top: int, bottom: int) -> list[Array]:
        size = self.width, bottom - top
        corner = _corner(0, top)
        return [_mean([_warped(plane, matrix @ corner, size) for plane, matrix in those]) for those in self.channels]


@dataclass(frozen=True)
class _Cells:
    """All four places of the Bayer cell moved at once, which is much faster than one by one.

    What the stack sees of one place at a pixel, it sees of another at the next, as long as the sky has hardly turned
    against the first frame, or has turned over.

    Attributes
    ----------
    cells
        ``(rows, columns, 4)``.
    matrix
        From pixels of the stack to the first place of a cell.
    corner
        x and y of the stack's pixel that the first one moved is.
    starts
        x, y of each place's first pixel among those moved.
    colours
        Channel of each place.
    width
        Of the stack.
    """

    cells: Array
    matrix: Matrix
    corner: tuple[int, int]
    starts: Sequence[tuple[int, int]]
    colours: Sequence[int]
    width: int

    def rows(self, top: int, bottom: int) -> list[Array]:
        width, height = self.width, bottom - top
        size = width + max(x for x, _ in self.starts), height + max(y for _, y in self.starts)
        left, above = self.corner
        moved = _warped(self.cells, self.matrix @ _corner(left, top + above), size)
        channels: list[list[Array]] = [[], [], []]
        for index, (x, y) in enumerate(self.starts):
            # Into an array of its own size: OpenCV would make and copy one.
            plane = np.empty((height, width), np.float32)
            cv2.extractChannel(moved[y : y + height, x : x + width], index, plane)
            channels[self.colours[index]].append(plane)
        return [_mean(those) for those in channels]


@dataclass(frozen=True)
class _Place:
    """Pixels of a frame that lie on a grid: those of one place in the Bayer cell, or all of a channel.

    Attributes
    ----------
    cells
        ``(rows, columns)`` of any real dtype, a view of the frame.
    matrix
        From pixels of the stack to them.
    border
        How many more pixels are thought around them: the outermost pixels of the frame lie beyond the outermost of most
        colours.
    """

    cells: NDArray[Any]
    matrix: Matrix
    border: int

    @classmethod
    def of_mosaic(cls, pixels: NDArray[Any], index: int, matrix: Matrix) -> "_Place":
        """Those of one place in the Bayer cell, counted row by row."""
        x, y = _CELL[index]
        within = matrix / 2
        within[:, 2] -= _CELL[index] / 2
        return cls(pixels[y::2, x::2], within, border=1)

    def band(self, top: int, bottom: int, width: int, offset: np.float32) -> tuple[Array, Matrix]:
        """What rows of the stack, so wide, are seen in, lifted; and the matrix to it."""
        first, last = _reached(self.matrix, (0, width), (top, bottom), len(self.cells))
        around = self.border
        plane = np.empty((last - first + 2 * around, self.cells.shape[1] + 2 * around), np.float32)
        inner = plane[around : around + last - first, around : around + self.cells.shape[1]]
        np.add(self.cells[first:last], offset, out=inner, casting="unsafe")
        if around:
            _bordered(plane)
        matrix = self.matrix.copy()
        matrix[:, 2] += around - np.array((0, first))
        return plane, matrix

    def at(self, corner: Matrix, size: tuple[int, int]) -> Array:
        """``(h, w)`` what a picture of `size` sees of them, as `_warped`; for few pixels far apart."""
        columns, rows = (np.arange(side) for side in size)
        x, y = (row[0] * columns + row[1] * rows[:, None] + row[2] for row in self.matrix @ corner)
        height, width = self.cells.shape
        inside = (x >= -self.border) & (x <= width - 1 + self.border)
        inside &= (y >= -self.border) & (y <= height - 1 + self.border)
        seen = np.full(size[::-1], np.nan, np.float32)
        if self.cells.size:
            seen[inside] = self._between(x[inside], y[inside])
        return seen

    def _between(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Array:
        left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
        right, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
        last_row, last_column = (side - 1 for side in self.cells.shape)
        (west, east), (north, south) = (
            (np.clip(first, 0, last), np.clip(first + 1, 0, last))
            for first, last in ((left, last_column), (top, last_row))
        )
        above = (1 - right) * self.cells[north, west] + right * self.cells[north, east]
        below = (1 - right) * self.cells[south, west] + right * self.cells[south, east]
        between: Array = (1 - down) * above + down * below
        return between


def _whole_shifts(matrix: Matrix) -> NDArray[np.intp] | None:
    """As `_Cells` has them; None where they are not whole, to what OpenCV's interpolation can tell."""
    shifts: NDArray[np.float64] = np.linalg.solve(matrix[:, :2], _CELL.T).T
    whole = np.rint(shifts)
    return whole.astype(np.intp) if np.abs(shifts - whole).max() < 1 / _INTERPOLATED else None


def _reached(matrix: Matrix, columns: tuple[int, int], rows: tuple[int, int], height: int) -> tuple[int, int]:
    """The first and the one after the last of so many rows that a matrix brings a rectangle to."""
    corners = [matrix[1] @ (x, y, 1) for x in (columns[0], columns[1] - 1) for y in (rows[0], rows[1] - 1)]
    first, last = int(min(corners)) - _MARGIN_ROWS, int(max(corners)) + _MARGIN_ROWS + 1
    return min(max(first, 0), height), min(max(last, 0), height)


def _bordered(plane: Array) -> None:
    """Let the outermost pixels be those next to them."""
    if not plane[1:-1, 1:-1].size:
        # A frame of one row or column has none of some colours, and a band beyond the frame none at all.
        plane[:] = np.nan
        return
    plane[0], plane[-1] = plane[1], plane[-2]
    plane[:, 0], plane[:, -1] = plane[:, 1], plane[:, -2]


def _warped(picture: Array, matrix: Matrix, size: tuple[int, int]) -> Array:
    if not picture.size:
        # Rows that see nothing of the frame.
        return np.full(size[::-1], np.nan, np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, size, flags=flags, borderValue=(np.nan,) * 4)


def _mean(planes: Sequence[Array]) -> Array:
    """Of one, or of two."""
    first, *others = planes
    return cv2.addWeighted(first, 0.5, others[0], 0.5, 0) if others else first


def _corner(left: int, top: int, step: int = 1) -> Matrix:
    """``(3, 3)`` matrix from pixels counted in steps from column `left` and row `top` to pixels of the whole."""
    return np.array([[step, 0, left], [0, step, top], [0, 0, 1]], np.float64)
