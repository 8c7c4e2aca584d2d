"""Word problems from annotated templates: their numbers and names are drawn again, and the answer is recomputed."""
