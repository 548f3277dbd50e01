"""The only code that speaks to Ray: a study actor, workers that are long-lived Tune trials, and their scheduler."""
