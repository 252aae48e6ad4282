"""ELU in blocks is ELU: values, gradients, and any shape and memory format."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from selfai_pipeline.networks import activation
from selfai_pipeline.networks.activation import elu

ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 2**-8}


def both(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Value and gradient by `elu` and by torch's, each with the same gradient from above."""
    found: list[torch.Tensor] = []
    above = torch.linspace(-1, 1, max(1, values.numel())).to(values.dtype)[: values.numel()]
    for function in (elu, functional.elu):
        leaf = values.clone().requires_grad_()
        result = function(leaf)
        result.backward(above.reshape(result.shape))
        assert leaf.grad is not None
        found += [result.detach().float(), leaf.grad.float()]
    return tuple(found)


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize("size", [0, 1, 100, 101, 350])
def test_it_is_torchs_up_to_rounding(dtype: torch.dtype, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "BLOCK", 100)
    values = torch.randn(size, generator=torch.Generator().manual_seed(size)).mul(4).to(dtype)
    mine, my_gradient, theirs, their_gradient = both(values)
    assert torch.allclose(mine, theirs, rtol=ROUNDING[dtype], atol=ROUNDING[dtype] / 10)
    assert torch.allclose(my_gradient, their_gradient, rtol=2 * ROUNDING[dtype], atol=ROUNDING[dtype])


@settings(deadline=None)
@given(st.floats(-200, 200, width=32))
def test_any_value(value: float) -> None:
    mine, _, theirs, _ = both(torch.tensor([value, -value, 0.0]))
    assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-7)


def test_values_that_are_no_numbers_stay_so() -> None:
    values = torch.tensor([float("nan"), float("inf"), float("-inf")], requires_grad=True)
    assert torch.equal(elu(values).isnan(), torch.tensor([True, False, False]))
    assert elu(values).tolist()[1:] == [float("inf"), -1.0]


def test_pictures_keep_their_memory_format_and_gaps_are_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "BLOCK", 7)
    pictures = torch.randn(2, 3, 5, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    result = elu(pictures)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(result, functional.elu(pictures), atol=1e-6)
    every_second = torch.randn(20, requires_grad=True)[::2]
    assert torch.equal(elu(every_second), functional.elu(every_second))


def test_scoring_and_training_see_the_same_values_to_the_bit() -> None:
    values = torch.randn(1000)
    assert torch.equal(elu(values), elu(values.clone().requires_grad_()).detach())


def test_in_float64_it_is_torchs_to_the_bit() -> None:
    exact = torch.randn(1000).double().requires_grad_()
    assert torch.equal(elu(exact), functional.elu(exact))
