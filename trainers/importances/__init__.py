"""Channel importances, one a file; the entry point is `importance`."""
