"""How alike answers are: within a model, between models, and in words. Imports numpy alone."""
