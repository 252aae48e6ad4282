"""Selfai: learn to score pictures of faces the way a crowd scores them, with the whole path open to audit."""
