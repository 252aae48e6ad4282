"""What flows between assets: references, through pointers that are replaced in one move."""

import dagster as dg

from selfai_pipeline.errors import InputError
from selfai_pipeline.store import open_store
from selfai_pipeline.tables import WHOLE, Snapshot


class SnapshotIOManager(dg.ConfigurableIOManager):
    """Writes the pointers of what an asset made; reads the pointers of what it asks for.

    A day, a range of days, or all of them (a fan-in) come as one `Snapshot`, pinned when the step starts.
    """

    home: str

    def handle_output(self, context: dg.OutputContext, obj: Snapshot) -> None:
        tables = open_store(self.home).tables
        for record in obj.records.values():
            tables.point(record)

    def load_input(self, context: dg.InputContext) -> Snapshot:
        """The current versions of the upstream asset.

        Raises:
            InputError: nothing that was asked for has been materialized yet.
        """
        asset = context.asset_key.to_user_string()
        partitions = context.asset_partition_keys if context.has_asset_partitions else [WHOLE]
        snapshot = open_store(self.home).tables.snapshot(asset, partitions)
        if not snapshot.refs:
            where = f"{asset}, {partitions[0]}" if len(partitions) == 1 else asset
            raise InputError(
                "nothing has been materialized here yet", where=where, mend=f"Materialize {asset} first."
            )
        return snapshot
