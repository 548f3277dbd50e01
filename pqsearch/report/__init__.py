"""What a person reads at the end: figures, a verdict in words, one page."""
