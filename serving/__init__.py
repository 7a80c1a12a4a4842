"""Bundles and the candidates they give, in process and over HTTP.

Imports neither training nor Lightning nor TorchRec: they cost seconds at start.
"""
