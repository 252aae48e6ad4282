"""Tables, pictures, crops and checkpoints of one `SELFAI_HOME`, as assets receive them."""

import dagster as dg

from selfai_pipeline.store import Store


class StoreResource(dg.ConfigurableResource[Store]):
    """Opens the store that assets work on."""

    home: str
    url: str = ""

    def create_resource(self, context: dg.InitResourceContext) -> Store:
        return Store.open(self.home, self.url)
