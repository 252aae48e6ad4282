"""The machine that training runs on: device, number format, threads."""

import ctypes
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.errors import InputError, OutOfMemory
from selfai_pipeline.networks.network import Network
from selfai_pipeline.training.settings import ComputeSettings, Device, Precision, WhenMoved

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MEMORY_MESSAGES = (
    "DefaultCPUAllocator",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Parts of the errors that torch has no class for."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
AFTERWARDS = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}
"""Options of glibc's mallopt, and where its own adjustment, which any call of it ends, would take them."""


@dataclass(frozen=True)
class Compute:
    """What `ComputeSettings` come to on this machine.

    `autocast` is the number format of training and of the validation after an epoch; `when_moved` decides
    about what was begun elsewhere.
    """

    device: torch.device
    autocast: torch.dtype
    threads: int
    deterministic: bool
    compile: bool = False
    when_moved: WhenMoved = WhenMoved.REFUSE

    @classmethod
    def from_settings(cls, settings: ComputeSettings) -> "Compute":
        """Choose the device and the number format.

        Raises:
            InputError: the device that is asked for is not there, or the compiler that `compile` needs.
        """
        if settings.compile and not any(shutil.which(name) for name in _compilers()):
            raise InputError(
                "torch.compile needs a C++ compiler, and none was found",
                where="compute.compile",
                mend="Install g++, or leave compile off: at this size it gains nothing.",
            )
        device = torch.device(_device_name(settings.device))
        native = settings.precision is Precision.BFLOAT16 or (
            settings.precision is Precision.AUTO and _multiplies_bfloat16(device)
        )
        threads = settings.threads or usable_cores()
        autocast = torch.bfloat16 if native else torch.float32
        return cls(
            device,
            autocast,
            threads,
            settings.deterministic,
            compile=settings.compile,
            when_moved=settings.when_moved,
        )

    @classmethod
    def on_processor(cls, settings: ComputeSettings) -> "Compute":
        """The processor in float64, which not every device computes, with the threads of `settings`."""
        threads = settings.threads or usable_cores()
        return cls(torch.device("cpu"), torch.float64, threads, settings.deterministic)

    @property
    def environment(self) -> dict[str, str | int | bool]:
        """What decides about the last bit of a result."""
        return {
            "torch": str(torch.__version__),
            # Two models of one maker choose other kernels; a processor's are told apart by `processor`.
            "device": _product_name(self.device) if self.device.type == "cuda" else self.device.type,
            "precision": str(self.autocast).removeprefix("torch."),
            "threads": self.threads,
            "deterministic": self.deterministic,
            "compile": self.compile,
            "processor": " ".join([torch.backends.cpu.get_cpu_capability(), *_bfloat16_instructions()]),
        }

    @property
    def description(self) -> dict[str, str | int | bool]:
        """What a stage ran on, for a person to read: it enters no hash, and does not name the machine."""
        return {
            **self.environment,
            "device": self.device.type,
            "device_name": _product_name(self.device),
        }

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set threads, determinism and whole float32, and put back what was set before, the random state
        included."""
        threads, shortened = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
        deterministic = torch.are_deterministic_algorithms_enabled()
        memory: Any = torch.utils.deterministic  # a module with properties, unknown to type checkers
        filled = memory.fill_uninitialized_memory
        torch.set_num_threads(self.threads)
        # By default cuDNN rounds float32 to ten bits, in scoring too.
        torch.backends.cudnn.allow_tf32 = False
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            # Fresh memory would be filled with NaN to show who reads it unwritten: 3 % of a training step.
            memory.fill_uninitialized_memory = False
        try:
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.allow_tf32 = shortened
            torch.use_deterministic_algorithms(deterministic)
            memory.fill_uninitialized_memory = filled

    def place(self, network: Network) -> Network:
        """Move a network to the device, channels last in memory, which convolutions are fastest on."""
        network.to(self.device)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        return network

    def reduced(self) -> torch.autocast:
        """The number format of training: of a step's forward pass, and of the validation after an epoch."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast is torch.bfloat16)

    def compiled(self, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """`function` by torch.compile, or as it is.

        A network among its arguments stays the plain module that it is: copies and checkpoints of it know
        nothing of the compiler, and a grown one is compiled anew.
        """
        if not self.compile:
            return function
        # torch compiles a function a few times only, those of earlier runs in this process included
        torch.compiler.reset()
        return torch.compile(function, dynamic=False)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Leave freed memory with the process while it trains; elsewhere than under glibc nothing changes.

    glibc gives large tensors back to the system and has the next ones zeroed again, page by page: a sixth of
    a training step on a processor. A process that has trained keeps up to 64 MB of what it freed, whatever
    `MALLOC_TRIM_THRESHOLD_` and the like say.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for option, value in AFTERWARDS.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


@contextmanager
def memory_for(what: str, *, mend: str) -> Iterator[None]:
    """Raises OutOfMemory, naming `what` did not fit and how to `mend` it, where an allocation fails."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not any(part in str(error) for part in MEMORY_MESSAGES):
            raise
        raise OutOfMemory(f"not enough memory for {what}. {mend}") from error


def _compilers() -> list[str]:
    return [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]


def _product_name(device: torch.device) -> str:
    """The product name of a device, as its maker gives it; of a processor, its kind where it has none."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "mps":
        return str(torch.backends.mps.get_name())
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _device_name(wanted: Device) -> str:
    there = {
        Device.CPU: True,
        Device.CUDA: torch.cuda.is_available(),
        Device.MPS: torch.backends.mps.is_available(),
    }
    if wanted is Device.AUTO:
        return next(name.value for name in (Device.CUDA, Device.MPS, Device.CPU) if there[name])
    if not there[wanted]:
        raise InputError(
            f"no {wanted.value} device was found on this machine",
            where="compute.device",
            mend="Set it to auto or cpu, or run where the device is.",
        )
    return wanted.value


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_bfloat16_instructions())


def _bfloat16_instructions() -> list[str]:
    """The processor's instructions that multiply bfloat16; they decide about kernels, and so about bits."""
    capabilities = torch.cpu.get_capabilities()
    return [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
