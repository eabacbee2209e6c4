"""Pixels kept on the device, whose batches are filled up to sizes that come again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mufin_model.encoders.image import ImageEncoder
from mufin_model.network.embedder import ALIKE, TunedImages, filled


@pytest.mark.parametrize(("count", "size"), [(1, 4), (3, 4), (4, 4), (5, 8), (0, 0)])
def test_rows_are_filled_up_by_themselves(count: int, size: int) -> None:
    rows = torch.arange(10, 10 + count)
    made = filled(rows, 4)
    assert len(made) == size
    assert made[:count].tolist() == rows.tolist()
    assert set(made.tolist()) == set(rows.tolist())
    # each as often as any other, but for one
    if count:
        assert np.ptp(np.unique(made, return_counts=True)[1]) <= 1


def test_vectors_are_the_same_wherever_the_pixels_lie() -> None:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    images = TunedImages(ImageEncoder("test_byobnet", "none", 16), pixels).eval()
    rows = torch.tensor([7, 2, 5])
    with torch.inference_mode():
        before = images(rows)
        images.resident = torch.from_numpy(pixels)
        seen = []
        images.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        after = images(rows)
    assert seen == [ALIKE]
    assert after.shape == before.shape == (3, images.width)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
