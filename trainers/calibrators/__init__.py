"""Calibrators, one a file: procedures that set the grids of a network's quantisers from images; the entry point is `calibrate`."""
