"""New training rows written by a language model."""
