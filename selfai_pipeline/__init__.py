"""Selfai: learn to score pictures of faces the way a crowd scores them, with the whole path open to audit."""

import os

# Nothing is reported to the makers of MLflow: it looks at these when it is imported, as do child processes.
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
