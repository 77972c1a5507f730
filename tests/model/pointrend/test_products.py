"""The product of a hidden layer is the same by each way to compute it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from model.pointrend.products import relu_of_product

WIDTH, CHANNELS = 24, 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [0, 1, 511, 512, 1777])
@torch.inference_mode()
def test_the_product_and_what_is_added_are_rectified(count: int, dtype: torch.dtype) -> None:
    torch.manual_seed(count)
    x = torch.randn(count, CHANNELS, dtype=dtype)
    # The head's weights are columns of wider ones.
    weight = torch.randn(WIDTH, CHANNELS + 3, dtype=dtype)[:, :CHANNELS]
    bias, term = torch.randn(WIDTH, dtype=dtype), torch.randn(count, WIDTH, dtype=dtype)
    product = x.double() @ weight.double().T
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 0.1}

    by_bias = relu_of_product(x, weight, bias)
    torch.testing.assert_close(by_bias, F.relu(product + bias).to(dtype), **close)
    by_term = relu_of_product(x, weight, term.clone())
    torch.testing.assert_close(by_term, F.relu(product + term).to(dtype), **close)
    assert by_bias.is_contiguous() and by_term.is_contiguous()


@torch.inference_mode()
def test_memory_of_what_is_added_is_reused() -> None:
    for count in (10, 1000):
        term = torch.randn(count, WIDTH)
        assert relu_of_product(torch.randn(count, CHANNELS), torch.randn(WIDTH, CHANNELS), term) is term or (
            term.min() >= 0
        )
