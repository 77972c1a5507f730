"""IoU of label maps, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.evaluation.iou import (
    area_overlap,
    band_width,
    boundary_overlap,
    confusion,
    correct_pixels,
    iou,
    mean,
    overlap,
)
from model.masks.palette import VOID


def maps(*rows: str) -> np.ndarray:
    """Digits are classes, a dot is VOID."""
    return np.array([[VOID if c == "." else int(c) for c in row] for row in rows], np.uint8)


def test_areas_by_hand() -> None:
    truth, predicted = maps("0011", "00.1"), maps("0111", "0001")
    matrix = confusion(truth, predicted, 3)
    np.testing.assert_array_equal(matrix, [[3, 1, 0], [0, 3, 0], [0, 0, 0]])
    np.testing.assert_array_equal(overlap(matrix), [[3, 3, 0], [4, 4, 0]])
    np.testing.assert_array_equal(area_overlap(truth, predicted, 3), overlap(matrix))
    np.testing.assert_array_equal(correct_pixels(truth, predicted), [[6], [7]])
    shares = iou(overlap(matrix))
    assert shares[:2] == pytest.approx([0.75, 0.75]) and math.isnan(shares[2])
    assert mean(shares) == pytest.approx(0.75)


def test_counts_add_up_over_images() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (2, 2, 8, 9)).astype(np.uint8)
    parts = confusion(truth[0], predicted[0], 4) + confusion(truth[1], predicted[1], 4)
    whole = confusion(truth.reshape(16, 9), predicted.reshape(16, 9), 4)
    np.testing.assert_array_equal(parts, whole)


def test_nothing_to_measure_is_not_a_number() -> None:
    void = maps("..", "..")
    assert math.isnan(mean(iou(overlap(confusion(void, maps("01", "10"), 2)))))


def test_bands_by_hand() -> None:
    """Columns 0–7: the truth changes between 3 and 4, the prediction between 4 and 5; bands 1 pixel wide."""
    truth, predicted = maps("00001111"), maps("00000111")
    # class 0: truth {3}, predicted {4}; class 1: truth {4}, predicted {5}
    np.testing.assert_array_equal(boundary_overlap(truth, predicted, 2, 1), [[0, 0], [2, 2]])
    # 2 wide: class 0 {2,3} and {3,4}; class 1 {4,5} and {5,6}
    np.testing.assert_array_equal(boundary_overlap(truth, predicted, 2, 2), [[1, 1], [3, 3]])


def test_neither_void_nor_the_image_edge_is_an_outline() -> None:
    truth, predicted = maps("000.11", "000.11"), maps("000011", "000011")
    # Within a step of a pixel there is no other class: the one between them is void. Within two there is.
    np.testing.assert_array_equal(boundary_overlap(truth, predicted, 2, 1), [[0, 0], [0, 0]])
    np.testing.assert_array_equal(boundary_overlap(truth, predicted, 2, 2), [[2, 2], [2, 2]])
    whole = maps("00", "00")
    np.testing.assert_array_equal(boundary_overlap(whole, whole, 2, 1), [[0, 0], [0, 0]])


def test_the_same_map_has_the_same_bands() -> None:
    labels = np.random.default_rng(1).integers(0, 5, (20, 30)).astype(np.uint8)
    both, either = boundary_overlap(labels, labels, 5)
    np.testing.assert_array_equal(both, either)


def test_a_band_reaches_diagonally() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[3, 3] = 1
    both, _ = boundary_overlap(labels, labels, 2, 2)
    np.testing.assert_array_equal(both, [24, 1])


def test_the_band_follows_the_image() -> None:
    assert band_width(360, 480) == 3 and band_width(1024, 2048) == 11 and band_width(4, 4) == 1
