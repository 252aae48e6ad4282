"""The registered scorer in MLflow: versions, aliases and tags, and whether its files are as they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selfai_pipeline.errors import AlteredVersion, InputError, SelfaiError
from selfai_pipeline.lineage.findings import State
from selfai_pipeline.lineage.promotions import Champion
from selfai_pipeline.lineage.registry import (
    CANDIDATE,
    CHAMPION,
    CHECKPOINT_TAG,
    MODEL,
    RegisteredVersion,
)
from selfai_pipeline.lineage.verification import registered_copy
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef
from selfai_pipeline.training.checkpoints import load_checkpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCORER = "finetuned_scorer"
"""The asset whose checkpoints are registered."""


@dataclass(frozen=True)
class ModelRegistry:
    """The registered scorer in MLflow, written to."""

    client: "MlflowClient"

    def alias(self, name: str) -> int | None:
        """The version that has an alias; None where none has."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_registered_model(MODEL).aliases.get(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return None if found is None else int(found)

    def find(self, version: int) -> RegisteredVersion:
        """A version by its number.

        Raises:
            InputError: it is not registered any more.
        """
        from mlflow.exceptions import MlflowException

        try:
            one = self.client.get_model_version(MODEL, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise InputError(
                "the registry has no such version any more",
                where=f"{MODEL}@{version}",
                mend="Promote another one by hand: `selfai promote MODEL@VERSION --reason ...`.",
            ) from error
        aliases = tuple(sorted(one.aliases))
        sha256 = one.tags.get(CHECKPOINT_TAG, "")
        return RegisteredVersion(
            one.name, int(one.version), aliases, sha256, one.run_id or "", one.source or ""
        )

    def of_checkpoint(self, sha256: str) -> RegisteredVersion | None:
        """The first version of a checkpoint; None where it was not registered."""
        found = self.client.search_model_versions(f"name='{MODEL}' and tag.{CHECKPOINT_TAG}='{sha256}'")
        return self.find(min(int(one.version) for one in found)) if found else None

    def tags(self, version: int) -> dict[str, str]:
        return dict(self.client.get_model_version(MODEL, str(version)).tags)

    def tag(self, version: int, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self.client.set_model_version_tag(MODEL, str(version), name, value)

    def move_alias(self, version: int) -> None:
        """Give `champion` to a version, which is no candidate from then on."""
        self.client.set_registered_model_alias(MODEL, CHAMPION, str(version))
        if self.alias(CANDIDATE) == version:
            self.client.delete_registered_model_alias(MODEL, CANDIDATE)


def reference(champion: Champion | RegisteredVersion) -> CheckpointRef:
    """The checkpoint of a registered version."""
    return CheckpointRef(SCORER, WHOLE, champion.checkpoint_sha256, rows=0)


def check_intact(version: RegisteredVersion, *, store: Store) -> None:
    """Read a version as a user of it would: its checkpoint, and the copy of it in MLflow where it is at hand.

    Raises:
        MissingVersion, AlteredVersion, InputError: a file is missing, was altered, or does not fit.
    """
    load_checkpoint(reference(version), store=store)
    amiss = [found for found in registered_copy(version) if found.state is not State.INTACT]
    if amiss:
        raise AlteredVersion(
            f"{amiss[0].path}: this {amiss[0].kind} is {amiss[0].state.value}. Put it back from the "
            f"checkpoint {version.checkpoint_sha256[:12]} in the store: until then it is neither promoted "
            "nor released."
        )


def problem_of(champion: Champion, *, registry: ModelRegistry, store: Store) -> str:
    """What speaks against a version that is or was the champion; empty where it is as it was made."""
    try:
        version = registry.find(champion.version)
        if version.checkpoint_sha256 != champion.checkpoint_sha256:
            return f"it is registered with another checkpoint, {version.checkpoint_sha256[:12]}"
        check_intact(version, store=store)
    except SelfaiError as error:
        return str(error)
    return ""
