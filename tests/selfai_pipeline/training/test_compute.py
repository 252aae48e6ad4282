import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import InputError, OutOfMemory
from selfai_pipeline.training.compute import Compute, freed_memory_kept, memory_for
from selfai_pipeline.training.labels import PixelFeed
from selfai_pipeline.training.settings import ComputeSettings


@pytest.mark.parametrize(
    ("device", "is_there"),
    [("cuda", "torch.cuda.is_available"), ("mps", "torch.backends.mps.is_available")],
)
def test_a_device_that_is_absent_is_named(monkeypatch, device, is_there):
    monkeypatch.setattr(is_there, lambda: False)
    with pytest.raises(InputError, match=f"no {device} device .* auto or cpu"):
        Compute.from_settings(ComputeSettings(device=device))


def test_a_compiler_that_is_absent_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not Compute.from_settings(ComputeSettings(device="cpu")).compile
    with pytest.raises(InputError, match=r"compute.compile: torch.compile needs a C\+\+ compiler"):
        Compute.from_settings(ComputeSettings(device="cpu", compile=True))


def test_a_gpu_that_is_too_small_for_the_pictures_is_named(monkeypatch):
    def full(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.Tensor, "to", full)
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(OutOfMemory, match=r"all 3 pictures of 8 px on cuda\. Lower input_size"):
        PixelFeed(pixels, device=torch.device("cuda"))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED when",
    ],
)
def test_a_gpu_that_is_full_says_so_in_several_ways(message):
    full = pytest.raises(OutOfMemory, match=r"not enough memory for a step\. Lower it")
    with full, memory_for("a step", mend="Lower it."):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="illegal"), memory_for("a step", mend="Lower it."):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_machines_whose_bits_differ_are_told_apart(monkeypatch):
    compute = Compute.from_settings(ComputeSettings(device="cpu"))
    kinds = set()
    for flags in ({}, {"avx512_bf16": True}, {"avx512_bf16": True, "amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        kinds.add(compute.environment["processor"])
    assert len(kinds) == 3
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"model {device.index}")
    names = [replace(compute, device=torch.device("cuda", n)).environment["device"] for n in (0, 1)]
    assert names == ["model 0", "model 1"]


def test_float32_is_whole_in_a_session():
    assert torch.backends.cudnn.allow_tf32
    with Compute.from_settings(ComputeSettings(device="cpu")).session():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_fresh_memory_is_not_filled_in_a_session():
    assert torch.utils.deterministic.fill_uninitialized_memory
    with Compute.from_settings(ComputeSettings(device="cpu")).session():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_precision_is_what_was_asked_for():
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        assert Compute.from_settings(ComputeSettings(device="cpu", precision=name)).autocast is dtype


def test_auto_threads_are_at_least_one():
    assert Compute.from_settings(ComputeSettings(device="cpu")).threads >= 1
    assert Compute.from_settings(ComputeSettings(device="cpu", threads=3)).threads == 3


def test_a_session_leaves_threads_determinism_and_random_state_as_they_were():
    compute = Compute.from_settings(ComputeSettings(device="cpu", threads=2))
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with compute.session():
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_training_steps_are_reduced_only_where_bfloat16_is_on():
    left, right = torch.ones(4, 4), torch.ones(4, 4)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with Compute.from_settings(ComputeSettings(device="cpu", precision=name)).reduced():
            assert (left @ right).dtype is dtype


MEMORY = """
import resource, torch
from pathlib import Path
from selfai_pipeline.training.compute import freed_memory_kept

PAGE, LARGE, SMALL = resource.getpagesize(), 64 << 20, 4 << 20

def share_faulted(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(size, dtype=torch.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (20 * size / PAGE)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

print(share_faulted(LARGE))
with freed_memory_kept():
    torch.ones(4 * LARGE, dtype=torch.uint8)
    print(share_faulted(LARGE))
    kept = resident()
print((kept - resident()) / LARGE)
print(share_faulted(SMALL))
"""
"""In a process of its own: what others have left free decides about all of these. `share_faulted` is the
share of the pages of twenty blocks, one after the other, that the system had to zero."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing but glibc is told to")
def test_memory_that_was_freed_is_used_again_while_training():
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, check=True, text=True)
    usually, while_training, given_back, afterwards = map(float, found.stdout.split())
    assert usually > 0.5, "every large block is zeroed anew"
    assert while_training < 0.1
    assert given_back > 3, "of the four large blocks that were held, when training ends"
    assert afterwards < 0.2, "what comes after training pays nothing for it"


def test_nothing_but_glibc_is_told_what_to_do_with_freed_memory(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr("ctypes.CDLL", None)
    with freed_memory_kept():
        assert torch.ones(3).sum() == 3
