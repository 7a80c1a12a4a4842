"""From pairs that may be the same thing to entities: clusters of records, and ids that stay."""
