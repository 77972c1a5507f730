"""Views of an image and of its label map stay on each other."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.label_augment import LabelAugmentation


def test_image_and_labels_see_the_same_part() -> None:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 5, (6, 8)), np.ones((16, 16), int)).astype(np.uint8)
    image = np.repeat(labels[:, :, None] * np.uint8(50), 3, axis=2)
    for seed in range(20):
        pixels, seen = LabelAugmentation((32, 64), (0.6, 2.0))(image, labels, np.random.default_rng(seed))
        assert pixels.shape == (32, 64, 3) and seen.shape == (32, 64)
        # They may differ only where the image is interpolated between two blocks.
        assert np.mean(abs(pixels[:, :, 0].astype(int) - 50 * seen.astype(int)) > 25) < 0.1


def test_labels_are_never_mixed() -> None:
    labels = np.where(np.arange(96)[None] < 50, 3, 200).repeat(64, 0).astype(np.uint8).reshape(64, 96)
    image = np.zeros((64, 96, 3), np.uint8)
    for seed in range(10):
        _, seen = LabelAugmentation((32, 32), (0.5, 3.0))(image, labels, np.random.default_rng(seed))
        assert set(np.unique(seen)) <= {3, 200}


def test_a_crop_larger_than_the_image_enlarges_it() -> None:
    view = LabelAugmentation((64, 128), (0.1, 0.2), flip=0).view(32, 48, np.random.default_rng(0))
    assert view.size == (64, 128) and view.extent[0] <= 48 and view.extent[1] <= 32
    assert view.extent == (48, 24)  # scaled by 128/48, no less


def test_scales_are_drawn_between_their_bounds() -> None:
    plan, rng = LabelAugmentation((32, 32), (0.5, 2.0)), np.random.default_rng(0)
    scales = [32 / plan.view(200, 300, rng).extent[1] for _ in range(200)]
    assert 0.49 < min(scales) < 0.6 and 1.7 < max(scales) < 2.01
    assert np.median(scales) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    "more", [{"crop": (0, 32)}, {"scales": (2.0, 1.0)}, {"scales": (0.0, 1.0)}, {"flip": 2}, {"colour": 1.0}]
)
def test_impossible_settings_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        LabelAugmentation(**more)  # type: ignore[arg-type]
