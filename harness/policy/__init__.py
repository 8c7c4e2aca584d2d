"""The interface that every method answers through: prompts in, log-probabilities and samples out."""
