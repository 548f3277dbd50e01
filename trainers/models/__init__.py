"""Networks, one family a file; the entry point is `build`."""
