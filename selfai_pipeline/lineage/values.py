"""What an audit found as JSON values, for machines."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from selfai_pipeline.lineage.audit import Audit
from selfai_pipeline.lineage.derived import Derived
from selfai_pipeline.lineage.findings import Finding, State
from selfai_pipeline.lineage.picture_history import PictureHistory
from selfai_pipeline.lineage.versions import Version, VersionKey


def audit_values(audited: Audit, findings: Iterable[Finding] | None = None) -> dict[str, Any]:
    """The audit as JSON values, with the settings and the inputs of every version."""
    values: dict[str, Any] = {
        "asked": str(audited.asked) if audited.asked else None,
        "version": _key_values(audited.key),
        "registered": [
            {
                "model": one.model,
                "version": one.version,
                "aliases": list(one.aliases),
                "checkpoint_sha256": one.checkpoint_sha256,
                "mlflow_run": one.mlflow_run,
            }
            for one in audited.registered
        ],
        "removed_since": [asdict(one) for one in audited.marks],
        "versions": [
            {
                **_version_values(version),
                "files": list(version.files),
                "problems": list(version.problems),
                "made": [
                    {
                        "code_version": making.code_version,
                        "settings": dict(making.settings),
                        "inputs": [_key_values(key) for key in making.inputs],
                        "external": dict(making.external),
                        "dagster_run": making.run_id,
                        "mlflow_run": audited.mlflow_run(version, making),
                    }
                    for making in version.makings
                ],
            }
            for version in audited.versions
        ],
        "sources": [
            {
                "source": use.source,
                "days": use.days,
                "stored": use.stored,
                "others": use.others,
                "licences": list(use.licences),
            }
            for use in audited.sources
        ],
        "promotions": [asdict(one) for one in audited.promotions],
        "problems": list(audited.problems),
    }
    if findings is not None:
        found = list(findings)
        values["verification"] = {
            "intact": sum(one.state is State.INTACT for one in found),
            **{
                name: [
                    asdict(one)
                    for one in found
                    if one.state is not State.INTACT and (one.state is State.REDACTED) == is_redacted
                ]
                for name, is_redacted in (("redacted", True), ("amiss", False))
            },
        }
    return values


def derived_values(derived: Derived) -> dict[str, Any]:
    """What came of a selection as JSON values."""
    return {
        "asked": {"kind": derived.selection.kind, "value": derived.selection.value},
        "pictures": sorted(derived.image_ids),
        "crops": sorted(derived.crops),
        "tables": [
            {**_version_values(touched.version), "rows": len(touched.rows)} for touched in derived.tables
        ],
        "models": [
            {
                **_version_values(one.version),
                "pictures": dict(one.pictures),
                "has_learnt": one.has_learnt,
                "registered": [str(version) for version in one.registered],
            }
            for one in derived.models
        ],
        "reports": list(derived.reports),
        "problems": list(derived.problems),
    }


def picture_values(history: PictureHistory) -> dict[str, Any]:
    """The history of a picture as JSON values."""
    return {
        "found": history.match,
        **derived_values(history.derived),
        "pictures": history.image_ids,
        "rows": {
            asset: [
                {
                    "values": dict(one.values),
                    "versions": [_key_values(key) for key in one.versions],
                    "in_current": one.in_current,
                }
                for one in statements
            ]
            for asset, statements in history.statements.items()
        },
    }


def _key_values(key: VersionKey) -> dict[str, str]:
    return {"asset": key.asset, "partition": key.partition, "sha256": key.sha256}


def _version_values(version: Version) -> Mapping[str, Any]:
    return {**_key_values(version.key), "rows": version.rows, "is_current": version.is_current}
