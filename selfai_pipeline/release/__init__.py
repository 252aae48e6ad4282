"""Comparison with the champion, promotion and rollback, the model card, and the bundle that is published."""
