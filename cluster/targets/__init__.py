"""ROOM: where a search can run. Each file renders what that place wants to be given."""
