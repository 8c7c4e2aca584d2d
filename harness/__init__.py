"""bakeoff: a matrix of alignment methods x benchmarks x base models, with a paired comparison at its end."""
