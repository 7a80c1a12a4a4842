"""Matchers of records as bundles: in process, and over HTTP."""
