import json

import pytest

from selfai_pipeline.networks.stages import (
    Convolution,
    GlobalAveragePool,
    Head,
    MaxPool,
    UnfitStages,
    check_stages,
    convolutions,
    reduction,
    stages_from_json,
    stages_to_json,
    tiny_darknet,
    with_head,
)


def test_tiny_darknet_has_fifteen_convolutions_and_four_pools():
    stages = tiny_darknet()
    assert [stage.channels for stage in convolutions(stages)] == [
        *(16, 32, 16, 128, 16, 128, 32, 256, 32, 256, 64, 512, 64, 512, 128)
    ]
    assert reduction(stages) == 16


def test_the_width_scales_every_layer_but_never_below_four_channels():
    assert {stage.channels for stage in convolutions(tiny_darknet(0.01))} == {4, 5}
    assert convolutions(tiny_darknet(2.0))[-1].channels == 256


def test_stages_survive_a_round_trip_through_json():
    stages = with_head(tiny_darknet(0.5), dropout=0.3)
    assert stages_from_json(json.loads(json.dumps(stages_to_json(stages)))) == stages


def test_a_head_is_replaced_not_doubled():
    once = with_head(tiny_darknet(), dropout=0.5)
    assert with_head(once, dropout=0.1) == (*tiny_darknet(), Head(0.1))
    assert with_head(once, mirrored=True) == (*tiny_darknet(), Head(0.5, mirrored=True))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("conv", "not a list"),
        ([{"kind": "transformer"}], "no known kind"),
        (["conv1"], "no known kind"),
        ([{"kind": "convolution", "name": "a", "channels": True, "kernel": 3}], "channels = True"),
        ([{"kind": "convolution", "name": "a", "channels": 4.5, "kernel": 3}], "channels = 4.5"),
        ([{"kind": "convolution", "name": "a", "channels": 4, "kernel": 3, "stride": 2}], "stride"),
        ([{"kind": "convolution", "name": "a", "channels": 4}], "kernel"),
        ([{"kind": "max_pool"}, {"kind": "global_average_pool"}], "has convolutions"),
    ],
)
def test_a_strange_architecture_is_refused_with_its_reason(rows, message):
    with pytest.raises(UnfitStages, match=message):
        stages_from_json(rows)


@pytest.mark.parametrize(
    "stages",
    [
        [Convolution("a", 4, 2), GlobalAveragePool()],
        [Convolution("a", 10**9, 3), GlobalAveragePool()],
        [Convolution("a.b", 4, 3), GlobalAveragePool()],
        [Convolution("a", 4, 3), Convolution("a", 4, 3), GlobalAveragePool()],
        [Convolution("a", 4, 3)],
        [Convolution("a", 4, 3), GlobalAveragePool(), MaxPool()],
        [Convolution("a", 4, 3), Head(), GlobalAveragePool()],
        [Convolution("a", 4, 3), MaxPool(0), GlobalAveragePool()],
        [Convolution("a", 4, 3), GlobalAveragePool(), Head(1.0)],
        [Convolution("a", 4, 3, shift=float("nan")), GlobalAveragePool()],
    ],
)
def test_a_list_that_builds_no_network_is_refused(stages):
    with pytest.raises(UnfitStages):
        check_stages(stages)
