"""Pictures of a run's winner, one a file; the entry point is `draw`."""
