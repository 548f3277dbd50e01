"""Export formats, one a file; the entry point is `export`."""
