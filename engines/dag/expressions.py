"""The little language of `when`: `${params.k} > 21 and ${steps.check.result.ok} == true`.

Comparisons (== != < <= > >= in, not in), and, or, not, parentheses, texts in quotes, numbers,
true, false, null, lists of those, and references. No calls, no arithmetic. Pure:
`compile_expression` when a definition is posted, `evaluate` at run time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engines.dag.references import (
    Reference,
    Scope,
    TemplateError,
    as_text,
    lookup,
    parse_reference,
)

MAX_LENGTH = 2000
MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<reference>\$\{[^}]*\})
      | (?P<number>-?\d{1,18}(?:\.\d{1,18})?(?![\w.]))
      | (?P<text>"[^"\\]*"|'[^'\\]*')
      | (?P<mark>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
      | (?P<word>[A-Za-z_]\w*)
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_KEYWORDS = {"and", "or", "not", "in", *_WORDS}

Evaluator = Callable[[Scope], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: `run(scope)` gives its value, `references` what it needs."""

    text: str
    run: Evaluator
    references: frozenset[Reference]


@lru_cache(maxsize=2000)
def compile_expression(text: str) -> Expression:
    """Checks an expression. Raises TemplateError saying where it stops making sense."""
    if len(text) > MAX_LENGTH:
        raise TemplateError(f"The expression is longer than {MAX_LENGTH} characters.")
    parser = _Parser(text)
    run = parser.either(0)
    parser.finish()
    return Expression(text, run, frozenset(parser.references))


def evaluate(text: str, scope: Scope) -> bool:
    """Whether an expression holds. Raises TemplateError for one that can't be read, for values that
    can't be compared (a text and a number with <), and for a reference that gives nothing."""
    return _true(compile_expression(text).run(scope))


def _true(value: Any) -> bool:
    """False are false, null, 0, "" and an empty list or object."""
    return bool(value)


class _Parser:
    """Recursive descent; each method gives a function from scope to value."""

    def __init__(self, text: str) -> None:
        self.references: set[Reference] = set()
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if not match or not match.lastgroup:
                raise TemplateError(
                    f'"{text[place : place + 30].strip()}" makes no sense in a condition. '
                    "A value of the run is written ${…}, a text in quotes."
                )
            word = match[match.lastgroup]
            if match.lastgroup == "word" and word not in _KEYWORDS:
                raise TemplateError(
                    f'"{word[:50]}" is not a word of conditions: a text is written in quotes, '
                    "a value of the run ${params.name}."
                )
            self.tokens.append((match.lastgroup, word))
            place = match.end()

    def finish(self) -> None:
        if self.at < len(self.tokens):
            raise TemplateError(
                f'Unexpected "{self.tokens[self.at][1]}" in the condition: join two conditions '
                "with and or or."
            )

    def take(self, *words: str) -> str | None:
        """The next token if it is one of these, which is then used up. Quoted texts never match."""
        if self.at < len(self.tokens):
            kind, word = self.tokens[self.at]
            if kind in {"mark", "word"} and word in words:
                self.at += 1
                return word
        return None

    def either(self, depth: int) -> Evaluator:
        sides = [self.both(depth)]
        while self.take("or"):
            sides.append(self.both(depth))
        return sides[0] if len(sides) == 1 else lambda scope: any(_true(s(scope)) for s in sides)

    def both(self, depth: int) -> Evaluator:
        sides = [self.negation(depth)]
        while self.take("and"):
            sides.append(self.negation(depth))
        return sides[0] if len(sides) == 1 else lambda scope: all(_true(s(scope)) for s in sides)

    def negation(self, depth: int) -> Evaluator:
        if depth > MAX_DEPTH:
            raise TemplateError(f"The condition is nested deeper than {MAX_DEPTH} levels.")
        if self.take("not"):
            inner = self.negation(depth + 1)
            return lambda scope: not _true(inner(scope))
        return self.comparison(depth)

    def comparison(self, depth: int) -> Evaluator:
        left = self.value(depth)
        operator = self.take("==", "!=", "<", "<=", ">", ">=", "in", "not")
        if operator is None:
            return left
        if operator == "not":
            if not self.take("in"):
                raise TemplateError("After a value, not must be followed by in.")
            operator = "not in"
        right = self.value(depth)
        return lambda scope: _compare(operator, left(scope), right(scope))

    def value(self, depth: int) -> Evaluator:
        if self.take("("):
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise TemplateError("A parenthesis is opened and never closed.")
            return inner
        if self.take("["):
            return self.items(depth)
        if self.at >= len(self.tokens):
            raise TemplateError("The condition ends where a value must follow.")
        kind, word = self.tokens[self.at]
        self.at += 1
        if kind == "reference":
            reference = parse_reference(word[2:-1])
            self.references.add(reference)
            return lambda scope: lookup(reference, scope)
        if kind == "number":
            return _constant(float(word) if "." in word else int(word))
        if kind == "text":
            return _constant(word[1:-1])
        if word in _WORDS:
            return _constant(_WORDS[word])
        raise TemplateError(f'Unexpected "{word}" in the condition where a value must stand.')

    def items(self, depth: int) -> Evaluator:
        if depth > MAX_DEPTH:
            raise TemplateError(f"The condition is nested deeper than {MAX_DEPTH} levels.")
        found: list[Evaluator] = []
        if not self.take("]"):
            found.append(self.value(depth + 1))
            while self.take(","):
                found.append(self.value(depth + 1))
            if not self.take("]"):
                raise TemplateError("A list is opened and never closed.")
        return lambda scope: [item(scope) for item in found]


def _constant(value: Any) -> Evaluator:
    return lambda scope: value


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator in {"==", "!="}:
        return _same(left, right) == (operator == "==")
    if operator in {"in", "not in"}:
        return _holds(right, left) == (operator == "in")
    both_numbers = _is_number(left) and _is_number(right)
    if not both_numbers and not (isinstance(left, str) and isinstance(right, str)):
        raise TemplateError(
            f"{_shown(left)} {operator} {_shown(right)}: only two numbers or two texts can be "
            "compared."
        )
    if operator == "<":
        return bool(left < right)
    if operator == "<=":
        return bool(left <= right)
    return bool(left > right) if operator == ">" else bool(left >= right)


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON values are: 1 is 1.0, but true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _holds(container: Any, value: Any) -> bool:
    if isinstance(container, str) and isinstance(value, str):
        return value in container
    if isinstance(container, (list, tuple)):
        return any(_same(item, value) for item in container)
    if isinstance(container, dict):
        return isinstance(value, str) and value in container
    raise TemplateError(f"in needs a list, an object or two texts, not {_shown(container)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else as_text(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
