"""Quantisers, one a file; the entry point is `Quantizer`."""
