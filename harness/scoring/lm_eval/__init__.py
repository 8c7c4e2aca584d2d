"""Policies as lm-eval models, and lm-eval's tasks as items."""
