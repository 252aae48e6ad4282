"""Tiny Darknet as data, the Siamese distance and its loss, and Net2Net."""
