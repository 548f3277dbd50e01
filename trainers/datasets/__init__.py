"""Image sets, one a file; the entry point is `load`."""
