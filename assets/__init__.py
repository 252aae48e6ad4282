"""The lineage graph: one module a stage, its checks beside it."""

import warnings

import dagster as dg

# Range backfills and partitioned checks are what this graph stands on; their notices would hide real ones.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
