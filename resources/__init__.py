"""What assets run on; one dict of resources per environment."""

import selfai_pipeline  # noqa: F401 (it turns MLflow's telemetry off, before anything here imports MLflow)
