"""Windows of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sep", reason="fields come with the training environment")

from edgegal.data.fields import Field
from edgegal.data.windows import random_window, window

pytestmark = pytest.mark.host


def scene(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> Field:
    """White boxes on grey sky."""
    picture = np.full((height, width, 3), 20, np.uint8)
    for x0, y0, x1, y1 in boxes:
        picture[y0:y1, x0:x1] = 250
    return Field(picture, np.array(boxes, np.float32).reshape(-1, 4), np.zeros((0, 4), np.float32))


def test_a_window_at_full_size_is_a_cut() -> None:
    field = scene(200, 300, [(50, 60, 90, 80), (250, 10, 290, 40)])
    cut = window(field, 40, 50, 64, 64)
    np.testing.assert_array_equal(cut.picture, field.picture[50:114, 40:104])
    np.testing.assert_array_equal(cut.boxes, [[10, 10, 50, 30]])
    assert len(cut.ignore) == 0


def test_what_is_cut_in_half_counts_neither_way() -> None:
    field = scene(100, 100, [(40, 40, 60, 60)])
    assert len(window(field, 51, 20, 49, 49).ignore) == 1
    assert len(window(field, 49, 20, 49, 49).boxes) == 1
    assert len(window(field, 61, 20, 39, 39).ignore) == 0
    assert len(window(field, 0, 0, 100, 25, smallest=6).ignore) == 1


def test_beyond_the_picture_stands_its_median() -> None:
    cut = window(scene(50, 40, [(0, 0, 10, 10)]), -20, -10, 100, 100)
    assert (cut.picture[0] == 20).all()
    assert (cut.picture[:, -1] == 20).all()
    np.testing.assert_array_equal(cut.boxes, [[20, 10, 30, 20]])
    assert (cut.picture[10:20, 20:30] == 250).all()


@given(
    height=st.integers(8, 400),
    width=st.integers(8, 400),
    corner=st.tuples(st.floats(0, 0.8), st.floats(0, 0.8)),
    share=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    seed=st.integers(0, 2**31),
)
def test_boxes_stay_on_their_objects(
    height: int, width: int, corner: tuple[float, float], share: tuple[float, float], seed: int
) -> None:
    x0, y0 = int(corner[0] * (width - 4)), int(corner[1] * (height - 4))
    x1, y1 = x0 + max(4, int(share[0] * (width - x0))), y0 + max(4, int(share[1] * (height - y0)))
    field = scene(height, width, [(x0, y0, min(x1, width), min(y1, height))])
    cut = random_window(field, 128, np.random.default_rng(seed))
    assert cut.picture.shape == (128, 128, 3)
    assert len(cut.boxes) + len(cut.ignore) <= 1
    for box in cut.boxes:
        assert box.min() >= 0
        assert box.max() <= 128
        a, b, c, d = (int(v) for v in (*np.ceil(box[:2] + 2), *np.floor(box[2:] - 2)))
        if c > a and d > b:
            assert cut.picture[b:d, a:c].min() > 200
