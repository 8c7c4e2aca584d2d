"""Building a training set: filters, deduplication, decontamination, mixing, pairs."""
