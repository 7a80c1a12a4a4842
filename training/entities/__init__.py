"""From tables of records to entities, in one job."""
