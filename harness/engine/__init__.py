"""Experiment, plan, store and run: from a YAML file to a results folder."""
