"""Instructions about brackets and quotes: how deep they stand in each other, and what follows them."""

from __future__ import annotations

from harness.constraints.text import WORD

PAIRS = {")": "(", "]": "[", "}": "{"}
DOUBLE, SINGLE = '"“”', "'‘’"


def parentheses(completion: str, prompt: str) -> bool:
    """Five brackets of any kinds in each other, each closed by its own kind; a stray one ("a)") does not count."""
    stack: list[str] = []
    heights: list[int] = [0]
    for char in completion:
        if char in "([{":
            stack.append(char)
            heights.append(0)
        elif char in PAIRS and stack and stack[-1] == PAIRS[char]:
            stack.pop()
            height = heights.pop() + 1
            if height >= 5:
                return True
            heights[-1] = max(heights[-1], height)
    return False


def quotes(completion: str, prompt: str) -> bool:
    """Three quotes in each other, double and single in turn, each closed; an apostrophe inside a word is none."""
    stack: list[str] = []
    heights: list[int] = [0]
    for at, char in enumerate(completion):
        kind = DOUBLE[0] if char in DOUBLE else SINGLE[0] if char in SINGLE else ""
        if not kind:
            continue
        before, after = completion[at - 1 : at] or " ", completion[at + 1 : at + 2] or " "
        if kind == SINGLE[0] and before.isalnum() and after.isalnum():
            continue
        if stack and stack[-1] == kind and not before.isspace():
            stack.pop()
            height = heights.pop() + 1
            if height >= 3:
                return True
            heights[-1] = max(heights[-1], height)
        elif not before.isalnum() and not after.isspace() and kind not in stack[-1:]:
            stack.append(kind)
            heights.append(0)
    return False


def quote_unquote(completion: str, prompt: str) -> bool:
    """There are phrases in double quotes, and after each comes at least a word outside of quotes before the next."""
    parts = completion.replace("“", '"').replace("”", '"').split('"')
    # outside, quoted, outside, ...: an even number of parts leaves a quote open
    return len(parts) > 2 and len(parts) % 2 == 1 and all(WORD.search(part) for part in parts[2::2])
