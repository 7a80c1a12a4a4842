"""Entity matching: which records of two tables are the same thing."""
