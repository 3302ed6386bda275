"""Where the sky of one frame lies in another: shift, rotation and scale, from stars that both show.

Stars are matched near where the last frame put them, else by the sides of their triangles, which know neither shift nor
rotation: drift, the field rotation of an altitude-azimuth mount and the half turn of a meridian flip are all followed.
Fields of few stars fall back on phase correlation of their light, which follows shifts only.
"""

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edgegal.device.stars import Field
from edgegal.errors import FrameError

__all__ = ["Motion", "Reference"]

Points = NDArray[np.float64]

# Brightest stars that triangles are made of, and that the final fit rests on.
_TRIANGLE_STARS = 24
_FIT_STARS = 120
# Sides of one triangle in two frames differ by centroid errors and by refraction.
_SIDE_TOLERANCE_PX = 1.5
_LEAST_SIDE_PX = 12.0
# Frames of one camera and telescope: temperature and refraction change the scale by less.
_LARGEST_SCALE_CHANGE = 0.02
_MATCH_PX = 2.5
# Pairs further apart than the rest are two stars, or half a galaxy.
_OUTLIER = 2.0
_CENTROID_PX = 0.1
# A sequence moves little from frame to frame.
_NEAR_PX = 12.0
_LEAST_STARS = 5
# Of the stars that both frames should show; chance pairs alone reach less than half of that.
_LEAST_SHARE = 0.25

_CORRELATION_SIGMA = 4.0
_SATURATED_SIGMA = 30.0
# Other fields agree below .3 even at their best shift, frames of one field above .8 (real and simulated ones).
_LEAST_AGREEMENT = 0.5
# Pixels of light that a frame needs: the few spikes of pure noise can be matched by chance, three stars cannot.
_LEAST_PIXELS = 40


@dataclass(frozen=True)
class Motion:
    """How the sky moved from one frame to another: where a place in the first lies in the second.

    Attributes
    ----------
    matrix
        ``(2, 3)`` float64 similarity in pixels x, y; continuous coordinates: 0, 0 is the outer corner of the top-left
        pixel.
    stars
        Pairs of stars it rests on; 0 for phase correlation.
    residual_px
        Root mean square distance of the pairs after the motion, along one axis; NaN without pairs.
    """

    matrix: NDArray[np.float64]
    stars: int = 0
    residual_px: float = float("nan")

    @classmethod
    def none(cls) -> Self:
        """Standing still."""
        return cls(np.eye(2, 3))

    @classmethod
    def shift(cls, dx: float, dy: float) -> Self:
        """`dx` pixels to the right and `dy` down."""
        return cls(np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]))

    @property
    def rotation_deg(self) -> float:
        """Turn from the x axis towards the y axis, -180 to 180."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def scale(self) -> float:
        """Length in the second frame of one pixel of the first."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def for_opencv(self) -> NDArray[np.float64]:
        """The matrix for coordinates whose 0, 0 is the middle of the top-left pixel, as ``cv2.warpAffine`` counts."""
        moved = self.matrix.copy()
        moved[:, 2] += self.matrix[:, :2] @ (0.5, 0.5) - 0.5
        return moved

    def apply(self, points: NDArray[np.floating]) -> Points:
        """``(n, 2)`` places x, y of the first frame in the second."""
        moved: Points = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return moved

    def inverse(self) -> "Motion":
        """From the second frame back to the first."""
        return Motion(cv2.invertAffineTransform(self.matrix), self.stars, self.residual_px)

    def then(self, after: "Motion") -> "Motion":
        """This motion, and then `after`."""
        turned = after.matrix[:, :2] @ self.matrix
        turned[:, 2] += after.matrix[:, 2]
        return Motion(turned, min(self.stars, after.stars))

    def boxes(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes ``(n, 4)`` x0, y0, x1, y1 around what they surrounded, moved: ellipses, with upright boxes again."""
        centres = self.apply((boxes[:, :2] + boxes[:, 2:]) / 2)
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        half = np.sqrt(half**2 @ (self.matrix[:, :2] ** 2).T)
        return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)


class Reference:
    """A frame that others are registered to.

    Parameters
    ----------
    field
        What was measured on it.
    """

    def __init__(self, field: Field) -> None:
        self._stars = field.stars
        self._size = field.size
        self._light = _light(field)
        self._triangles = _triangles(field.stars.brightest(_TRIANGLE_STARS).positions)

    def motion_of(self, field: Field, guess: Motion | None = None) -> Motion:
        """Motion of the sky from the reference to another frame.

        Parameters
        ----------
        field
            What was measured on the other frame.
        guess
            The motion of the frame before, which is tried first.

        Raises
        ------
        FrameError
            The frame has another size, or nothing in common with the reference that could be matched.
        """
        if field.size != self._size:
            raise FrameError(f"a frame of {field.size} pixels does not register to one of {self._size}")
        motion = self._refined(field, guess, _NEAR_PX) if guess is not None else None
        motion = motion or self._by_triangles(field)
        return motion or self._by_correlation(field)

    def _by_triangles(self, field: Field) -> Motion | None:
        there = field.stars.brightest(_TRIANGLE_STARS).positions
        first, second = _same_triangles(self._triangles, _triangles(there))
        if not len(first):
            return None
        votes = np.zeros((_TRIANGLE_STARS, _TRIANGLE_STARS), np.int32)
        np.add.at(votes, (first.ravel(), second.ravel()), 1)
        rows = np.arange(_TRIANGLE_STARS)
        best = votes.argmax(axis=1)
        mutual = (votes[rows, best] > 1) & (votes.argmax(axis=0)[best] == rows)
        pairs = rows[mutual], best[mutual]
        if len(pairs[0]) < 3:
            return None
        here = self._stars.positions
        matrix, _ = cv2.estimateAffinePartial2D(
            here[pairs[0]], there[pairs[1]], method=cv2.RANSAC, ransacReprojThreshold=_MATCH_PX, maxIters=500
        )
        return None if matrix is None else self._refined(field, Motion(matrix), 2 * _MATCH_PX)

    def _refined(self, field: Field, guess: Motion, reach_px: float) -> Motion | None:
        """The least-squares motion of all stars that a guess brings together; None when they are too few."""
        here = self._stars.brightest(_FIT_STARS).positions
        there = field.stars.brightest(_FIT_STARS).positions
        motion = guess
        for reach in (reach_px, 2 * _MATCH_PX, _MATCH_PX):
            pairs = _nearest_pairs(motion.apply(here), there, reach)
            if len(pairs[0]) < _LEAST_STARS:
                return None
            fitted = _least_squares(here[pairs[0]], there[pairs[1]])
            if abs(fitted.scale - 1) > _LARGEST_SCALE_CHANGE:
                return None
            motion = fitted
        pairs = _nearest_pairs(motion.apply(here), there, _OUTLIER * motion.residual_px + _CENTROID_PX)
        if len(pairs[0]) >= _LEAST_STARS:
            motion = _least_squares(here[pairs[0]], there[pairs[1]])
        return motion if self._is_sure(motion, field) else None

    def _is_sure(self, motion: Motion, field: Field) -> bool:
        width, height = field.size
        seen = motion.apply(self._stars.brightest(_FIT_STARS).positions)
        inside = ((seen >= 0) & (seen < (width, height))).all(axis=1).sum()
        expected = min(int(inside), len(field.stars), _FIT_STARS)
        return motion.stars >= max(_LEAST_STARS, _LEAST_SHARE * expected)

    def _by_correlation(self, field: Field) -> Motion:
        here, there = self._light, _light(field)
        if min(np.count_nonzero(here), np.count_nonzero(there)) < _LEAST_PIXELS:
            raise FrameError("the frame does not register: no stars")
        height, width = here.shape
        if min(height, width) < 2:
            raise FrameError("the frame does not register: it is a single line")
        window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        # phaseCorrelate multiplies the window into its arguments in place where it need not pad them.
        (dx, dy), _ = cv2.phaseCorrelate(here.copy(), there.copy(), window)
        # The peak's own height says little: a single noise spike shared by chance can answer strongly.
        agreement = _agreement(here, there, dx, dy)
        if agreement < _LEAST_AGREEMENT:
            raise FrameError(f"the frame does not register: agreement {agreement:.2f} is below {_LEAST_AGREEMENT}")
        return Motion.shift(dx * field.scale, dy * field.scale)


@dataclass(frozen=True)
class _Triangles:
    """Triangles of stars, by falling length of the sides.

    Attributes
    ----------
    sides
        ``(n, 3)`` lengths in pixels, longest first; rows in rising order of the longest.
    corners
        ``(n, 3)`` indices of the stars opposite to the sides.
    turn
        ``(n,)`` -1 or 1: the sense in which the corners follow each other, which no turn of the field changes.
    """

    sides: Points
    corners: NDArray[np.intp]
    turn: NDArray[np.float64]


def _triangles(positions: Points) -> _Triangles:
    corners = np.array(list(combinations(range(len(positions)), 3)), np.intp).reshape(-1, 3)
    p = positions[corners]
    sides = np.stack([np.hypot(*(p[:, (i + 1) % 3] - p[:, (i + 2) % 3]).T) for i in range(3)], axis=1)
    falling = np.argsort(-sides, axis=1)
    sides, corners = np.take_along_axis(sides, falling, 1), np.take_along_axis(corners, falling, 1)
    # Where two sides are equally long, noise decides which star is which.
    clear = (sides[:, 2] > _LEAST_SIDE_PX) & (np.diff(-sides, axis=1) > 2 * _SIDE_TOLERANCE_PX).all(axis=1)
    order = np.flatnonzero(clear)[np.argsort(sides[clear, 0], kind="stable")]
    sides, corners = sides[order], corners[order]
    p = positions[corners]
    (ax, ay), (bx, by) = (p[:, 1] - p[:, 0]).T, (p[:, 2] - p[:, 0]).T
    return _Triangles(sides, corners, np.sign(ax * by - ay * bx))


def _same_triangles(first: _Triangles, second: _Triangles) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Corners ``(n, 3)`` of the triangles that have the same sides in both."""
    low = np.searchsorted(second.sides[:, 0], first.sides[:, 0] - _SIDE_TOLERANCE_PX)
    high = np.searchsorted(second.sides[:, 0], first.sides[:, 0] + _SIDE_TOLERANCE_PX)
    count = high - low
    one = np.repeat(np.arange(len(first.sides)), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    same = (np.abs(first.sides[one] - second.sides[other]) < _SIDE_TOLERANCE_PX).all(axis=1)
    same &= first.turn[one] == second.turn[other]
    return first.corners[one[same]], second.corners[other[same]]


def _nearest_pairs(here: Points, there: Points, reach: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of points that are each other's nearest within `reach`."""
    if not len(here) or not len(there):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    # One axis after the other: numpy is slow along one of two.
    distance = np.subtract.outer(here[:, 0], there[:, 0]) ** 2
    distance += np.subtract.outer(here[:, 1], there[:, 1]) ** 2
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(here))
    keep = (distance[rows, nearest] < reach**2) & (distance.argmin(axis=0)[nearest] == rows)
    return rows[keep], nearest[keep]


def _least_squares(here: Points, there: Points) -> Motion:
    """Similarity that brings `here` closest to `there`; places are complex numbers, and it is one product and a sum."""
    a, b = here[:, 0] + 1j * here[:, 1], there[:, 0] + 1j * there[:, 1]
    from_middle = a - a.mean()
    turn = np.vdot(from_middle, b - b.mean()) / np.vdot(from_middle, from_middle)
    shift = b.mean() - turn * a.mean()
    residual = np.sqrt(np.mean(np.abs(turn * a + shift - b) ** 2) / 2)
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return Motion(matrix, len(here), float(residual))


def _light(field: Field) -> NDArray[np.float32]:
    """Luminance in sky sigmas above the local sky.

    Sky noise is cut to zero and bright stars are limited, so neither the noise nor one star decides.
    """
    # A median of nine takes away single hot pixels, which would answer for a shift of zero.
    light: NDArray[np.float32] = cv2.medianBlur(field.light, 3)
    light /= np.float32(field.sigma)
    light -= np.float32(_CORRELATION_SIGMA)
    return np.clip(light, 0, np.float32(_SATURATED_SIGMA), out=light)


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32], dx: float, dy: float) -> float:
    """Cosine between two star images after moving the second back by dx, dy; 0 when either is empty."""
    height, width = first.shape
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(second, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    norm = float(np.linalg.norm(first)) * float(np.linalg.norm(moved))
    return min(1.0, float((first * moved).sum()) / norm) if norm > 0 else 0.0
