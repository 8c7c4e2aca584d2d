"""Rules that decide whether an answer follows an instruction: pure functions of text, loading nothing heavy.

`registry.py` names them, `levels.py` applies them strictly and loosely, `items.py` reads what is asked.
The rules are this project's own, written from what each instruction says in words.
"""
