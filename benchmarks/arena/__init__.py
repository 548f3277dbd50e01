"""The arena of `benchmarks/algorithms.py`: contenders, and the frame that counts what they spend."""
