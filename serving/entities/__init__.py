"""Entities where they are asked for: what judges pairs of records, and which entity a record is."""
