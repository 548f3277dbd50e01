"""A page that shows a study while it runs: the journal followed from beside it, figures, and the server of both."""
