"""Tables, pictures, crops and checkpoints of one `SELFAI_HOME`, as assets receive them."""

import dagster as dg

from selfai_pipeline.store import Store, open_store


class StoreResource(dg.ConfigurableResource[Store]):
    """Opens the store that assets work on, the same as the command line does."""

    home: str

    def create_resource(self, context: dg.InitResourceContext) -> Store:
        return open_store(self.home)
