"""The verbs of the command line. Heavy libraries are imported when a verb runs, not when it is listed."""
