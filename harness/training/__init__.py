"""Training through TRL and PEFT, with the project's own label masks and data order."""
