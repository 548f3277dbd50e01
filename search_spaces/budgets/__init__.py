"""Budgets, one a file; the entry point is `terms`, and `UNIT`, `LOW`, `HIGH`, `RELATIVE` say how to read it."""
