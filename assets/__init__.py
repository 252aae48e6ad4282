"""The lineage graph: one module a stage, its checks beside it."""
