"""Policies, the interface of every method: prompts in, log-probabilities and samples out."""
