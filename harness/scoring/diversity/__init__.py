"""How alike answers are: similarities, Vendi scores, classes, known answers."""
