"""Tables, pictures, crops and checkpoints of one `SELFAI_HOME`, as assets receive them."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from selfai_pipeline.home import Home
from selfai_pipeline.store import Store, open_store
from selfai_pipeline.turns import writing


class StoreResource(dg.ConfigurableResource[Store]):
    """Opens the store that assets work on, the same as the command line does.

    A run holds a writer's turn for as long as it has the store, so that a removal waits for it. Sensors and
    schedules only read, and wait for nothing.
    """

    home: str

    def create_resource(self, context: dg.InitResourceContext) -> Store:
        return open_store(self.home)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Store, None, None]:
        if context.run is None:
            yield self.create_resource(context)
            return
        with writing(Home.at(self.home)):
            yield self.create_resource(context)
