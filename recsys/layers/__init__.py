"""Layers that several models share."""

from recsys.layers.cross import CrossLayers

__all__ = ["CrossLayers"]
