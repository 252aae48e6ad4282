"""Marks in the model registry: which registered versions learnt from what was removed."""

import os

from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.removal.plan import Plan

REMOVED_TAG = "selfai.removed_inputs"
"""Tag of a version of a registered model, and of its run: which removal took out what it learnt from."""


def mark_models(plan: Plan, home: Home) -> None:
    """Tag the registered versions that learnt from it; a tag of an earlier removal is kept beside it.

    A version that was deleted since the plan was made needs none.

    Raises:
        StorageError: MLflow's database or server cannot be written.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = f"sqlite:///{home.mlflow_database}"
    if current_environment() is Environment.PRODUCTION:
        uri = os.environ.get("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    for name, number in plan.models:
        try:
            version = client.get_model_version(name, str(number))
            marks = [one for one in version.tags.get(REMOVED_TAG, "").split(", ") if one]
            mark = f"{plan.removed_at[:10]} {plan.removal}"
            if mark not in marks:
                client.set_model_version_tag(name, str(number), REMOVED_TAG, ", ".join([*marks, mark]))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                continue
            raise StorageError(
                f"the registered models cannot be marked ({error}). Look after MLflow, then finish with "
                "`selfai remove --resume`."
            ) from error
