"""Settings under which a stage trains in a second."""

import shutil

import pytest

from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.settings import ComputeSettings, FinetuneSettings, SiameseSettings
from selfai_pipeline.training.siamese_stage import pretrain_siamese


@pytest.fixture
def compute() -> ComputeSettings:
    return ComputeSettings(device="cpu", precision="float32", threads=1)


@pytest.fixture
def compiler() -> None:
    """What torch.compile needs, or the test is skipped."""
    if not any(shutil.which(name) for name in ("g++", "clang++")):
        pytest.skip("there is no C++ compiler")


QUICK = {"input_size": 32, "width": 0.12, "batch_size": 12}


@pytest.fixture
def siamese_settings() -> SiameseSettings:
    """Grows twice in four epochs: no epoch counts as progress."""
    return SiameseSettings(
        **QUICK,
        epochs=4,
        least_steps=1,
        stall_patience=1,
        stall_tolerance=0.99,
        growth_plan=["wider conv15 1.5", "deeper conv13"],
    )


@pytest.fixture
def finetune_settings() -> FinetuneSettings:
    return FinetuneSettings(batch_size=12, least_steps=1, epochs=4)


@pytest.fixture
def siamese(store, labels, siamese_settings, compute) -> CheckpointRef:
    """A trunk that was pre-trained on `labels`."""
    return pretrain_siamese(
        labels, store=store, settings=siamese_settings, compute=compute, report=lambda *_: None
    )
