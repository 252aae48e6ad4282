"""Settings are what the Launchpad shows: described, bounded, light, and every one of them read by code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import selfai_pipeline.training as package
from selfai_pipeline.environment import for_environment
from selfai_pipeline.networks.operators import parse_plan
from selfai_pipeline.networks.stages import tiny_darknet
from selfai_pipeline.training.settings import (
    ComputeSettings,
    FinetuneSettings,
    SiameseSettings,
    WidenSettings,
)

ALL = [ComputeSettings, SiameseSettings, WidenSettings, FinetuneSettings]


@pytest.mark.parametrize("settings", ALL)
def test_every_field_is_described_and_read_somewhere(settings):
    folder = Path(package.__file__).parent
    read = {
        node.attr
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
    }
    for name, field in settings.model_fields.items():
        assert field.description, name
        assert name in read, name


@pytest.mark.parametrize("environment", ["sample", "local"])
def test_the_default_growth_plan_fits_the_default_network(monkeypatch, environment):
    monkeypatch.setenv("SELFAI_ENV", environment)
    settings = for_environment(SiameseSettings)()
    assert len(parse_plan(settings.growth_plan, tiny_darknet(settings.width))) >= 2


def test_an_input_that_the_pools_do_not_divide_is_refused():
    with pytest.raises(ValidationError, match="multiple of 16"):
        SiameseSettings(input_size=100)


def test_settings_import_nothing_heavy():
    code = (
        "import sys, selfai_pipeline.training.settings;"
        "print(sorted({'torch', 'numpy', 'cv2', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
