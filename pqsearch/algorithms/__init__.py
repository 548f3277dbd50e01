"""Search algorithms, one a file; the entry point is `Algorithm`, the contract is in `pqsearch.problem`."""
