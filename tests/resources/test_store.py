"""The store as assets get it: for as long as a run has it, no removal begins."""

import dagster as dg
import pytest

from resources.store import StoreResource
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.turns import TurnNotCome, alone


def test_a_removal_waits_for_a_run_that_has_the_store(home: Home) -> None:
    @dg.asset
    def at_work(store: dg.ResourceParam[Store]) -> None:
        with pytest.raises(TurnNotCome), alone(store.home, wait_s=0, tell=lambda: None):
            pytest.fail("it did not wait")

    assert dg.materialize([at_work], resources={"store": StoreResource(home=str(home.root))}).success
    with alone(home, wait_s=0, tell=lambda: None):
        assert Store.open(home).home == home


def test_a_sensor_has_the_store_without_a_turn(home: Home) -> None:
    """It only reads, and must not hang while a removal waits for a run of an hour."""

    @dg.sensor(job_name="any")
    def looks(store: dg.ResourceParam[Store]) -> dg.SkipReason:
        return dg.SkipReason(str(store.home.root))

    resources = {"store": StoreResource(home=str(home.root))}
    with alone(home, wait_s=0, tell=lambda: None), dg.build_sensor_context(resources=resources) as context:
        assert looks(context).skip_message == str(home.root)
