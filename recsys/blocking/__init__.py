"""Blocking: of all pairs of records, the few that are worth a look, and what that loses."""
