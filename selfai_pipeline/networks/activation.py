"""ELU, quick to train with on a processor."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK = 1 << 16
"""Values that a thread works on at a time: a quarter of a megabyte in float32, which stays in its cache."""


def elu(values: Tensor) -> Tensor:
    """max(x, exp(min(x, 0)) - 1), of any shape.

    On a processor it is computed in blocks, in float32 whatever the number format: torch's own ELU calls
    expm1, which on some processors takes half of a training step of a small network and more than half of
    scoring, and on others as long as this does (torch 2.14; benchmarks/training.py). The two differ by
    rounding: 6e-8, and that of the format.
    """
    is_dense = values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)
    is_blocked = values.device.type == "cpu" and values.dtype in (torch.bfloat16, torch.float32) and is_dense
    # What compiles or exports a network has to see the operator, not its parts.
    if not is_blocked or torch.compiler.is_compiling():
        return functional.elu(values)
    if torch.is_grad_enabled() and values.requires_grad:
        return _BlockedElu.apply(values)  # type: ignore[no-any-return]
    return _in_blocks(values)


def _in_blocks(values: Tensor) -> Tensor:
    """ELU of dense values on a processor, a tensor that lies in memory alike."""
    result = torch.empty_like(values)
    source, target = (one.as_strided((one.numel(),), (1,)) for one in (values, result))
    step = max(1, min(BLOCK * torch.get_num_threads(), source.numel()))
    wide = torch.empty(step)
    for part, out in zip(torch.split(source, step), torch.split(target, step), strict=True):
        if values.dtype == torch.float32:
            torch.clamp(part, max=0.0, out=out).exp_().sub_(1.0)
        else:
            out.copy_(wide[: len(part)].copy_(part).clamp_(max=0.0).exp_().sub_(1.0))
        torch.maximum(part, out, out=out)
    return result


class _BlockedElu(torch.autograd.Function):
    """ELU of dense values on a processor, to be trained through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = _in_blocks(values)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        slope: Tensor = torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, result)
        return slope
