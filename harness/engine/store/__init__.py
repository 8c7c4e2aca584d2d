"""Artifacts and outcomes on disk, under keys of everything that decides their bytes."""
