"""Figures with their intervals, occlusion maps, galleries, and the report."""
