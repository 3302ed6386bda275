from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.device.calibration import Calibration, normalised_flat, read_calibration
from edgegal.device.masters import Master, read_master
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

SHAPE = (40, 60)


def shading() -> np.ndarray:
    """Vignetting to a half in the corners."""
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    return 1 - 0.25 * (x**2 + y**2)


def write_folder(folder: Path, base: np.ndarray, noise: float, count: int = 9) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(count):
        picture = np.clip(base + rng.normal(0, noise, base.shape), 0, 65535)
        cv2.imwrite(str(folder / f"{i}.png"), np.rint(picture).astype(np.uint16))
    return folder


def test_dark_and_flat_give_back_the_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark = 200 + rng.uniform(0, 300, SHAPE)
    scene = 1000 + 500 * np.sin(np.arange(SHAPE[1]) / 5) * np.ones(SHAPE)
    frame = Frame((scene * shading() + dark).astype(np.float32), "light")
    calibrate = read_calibration(
        write_folder(tmp_path / "dark", dark, 4), write_folder(tmp_path / "flat", 30000 * shading(), 60)
    )
    assert calibrate is not None
    result = calibrate(frame)
    # The flat is normalised to its median, not to its centre.
    assert np.std(result.pixels / scene) / np.mean(result.pixels / scene) < 0.01
    assert result.pixels.dtype == np.float32


def test_neither_dark_nor_flat_is_no_calibration() -> None:
    assert read_calibration(None, None) is None


def test_with_a_bias_the_dark_is_scaled_to_the_exposure_of_the_frame() -> None:
    bias, current = (
        np.full(SHAPE, 300, np.float32),
        np.linspace(0, 90, 60, dtype=np.float32) * np.ones(SHAPE, np.float32),
    )
    frame = Frame((bias + 2.5 * current + 700).astype(np.float32), "light", exposure_s=25.0)
    dark = Master("dark", bias + current, exposure_s=10.0)
    for known in (dark, Master("dark", current, exposure_s=10.0, subtracted=("bias",))):
        np.testing.assert_allclose(Calibration(known, bias=Master("bias", bias))(frame).pixels, 700, rtol=1e-5)
    shorter = replace(frame, exposure_s=10.0)
    np.testing.assert_allclose(Calibration(dark)(shorter).pixels, 700 + 1.5 * current, rtol=1e-5)


def test_a_dark_without_its_bias_is_refused_with_the_flag_to_give() -> None:
    dark = Master("dark", np.zeros(SHAPE, np.float32), subtracted=("bias",))
    with pytest.raises(InputError, match="--bias"):
        Calibration(dark)(Frame(np.zeros(SHAPE, np.uint16), "light"))


def test_a_warm_lamp_does_not_tint_the_colours() -> None:
    lamp = np.empty(SHAPE, np.float32)
    lamp[0::2, 0::2], lamp[0::2, 1::2], lamp[1::2, 0::2], lamp[1::2, 1::2] = 4000, 3000, 3000, 1000
    np.testing.assert_allclose(normalised_flat(lamp), 1)
    colour = np.ones((*SHAPE, 3), np.float32) * np.array([4000, 3000, 1000], np.float32)
    np.testing.assert_allclose(normalised_flat(colour), 1)


def test_dead_pixels_of_a_flat_become_unknown_and_not_infinite() -> None:
    master = np.full(SHAPE, 1000, np.float32)
    master[5, 6] = 0
    result = Calibration(flat=normalised_flat(master))(Frame(np.full(SHAPE, 7, np.uint16), "light"))
    assert np.isnan(result.pixels[5, 6])
    assert np.isfinite(result.pixels).sum() == result.pixels.size - 1


def test_a_display_picture_is_refused() -> None:
    frame = Frame(np.zeros(SHAPE, np.uint8), "photo.jpg", linear=False)
    with pytest.raises(FrameError, match=r"photo\.jpg is a display picture") as caught:
        Calibration(dark=Master("dark", np.zeros(SHAPE, np.float32)))(frame)
    assert caught.value.mend == "give raw frames, or leave the masters out"


def test_a_master_of_another_size_is_refused_with_both_sizes() -> None:
    frame = Frame(np.zeros((10, 10), np.uint16), "light")
    with pytest.raises(FrameError, match=r"\(40, 60\).*\(10, 10\)"):
        Calibration(dark=Master("dark", np.zeros(SHAPE, np.float32)))(frame)


def test_the_frame_that_came_in_is_left_alone() -> None:
    frame = Frame(np.full(SHAPE, 7.0, np.float32), "light", bayer="RGGB")
    result = Calibration(dark=Master("dark", np.ones(SHAPE, np.float32)))(frame)
    assert (frame.pixels == 7).all()
    assert (result.pixels == 6).all()
    assert result == replace(frame, pixels=result.pixels)


def test_a_bad_or_finished_calibration_frame_is_fatal(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "dark", np.full(SHAPE, 100), 1)
    (folder / "3.png").write_bytes(b"")
    with pytest.raises(FrameError, match="empty"):
        read_master("dark", folder)
    cv2.imwrite(str(folder / "3.png"), np.zeros(SHAPE, np.uint8))
    with pytest.raises(FrameError, match="display picture"):
        read_master("dark", folder)
