"""Mathematical notation, LaTeX or plain, into the words it is read as.

The wording follows what people say when they read a formula aloud ("x squared",
"a over b", "the sum from i equals 1 to n of"), short rather than unambiguous.
"""

import re
from collections.abc import Callable

from speech.maths_words import (
    ACCENTS,
    BIG_OPERATORS,
    DROPPED,
    DROPPED_WITH_ARGUMENT,
    FUNCTIONS,
    GREEK,
    SYMBOLS,
    TEXT_COMMANDS,
    plain_scripts,
)

_TOKEN = re.compile(
    r"\\[A-Za-z]+\*?|\\.|\d+(?:,\d{3})*(?:\.\d+)?|[A-Za-z]+|[<>=!]=|->|=>|\S|\s", re.DOTALL
)
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, ")]}"
#: Longer runs of letters are words, shorter ones products of variables.
_WORD = 4
_MATRICES = re.compile(r"(?:[pbvVB]|small)?matrix")
_POWERS = {
    "2": "squared",
    "3": "cubed",
    "T": "transpose",
    "degrees": "degrees",
    "prime": "prime",
    "times": "star",
    # Charges: "H^+".
    "plus": "plus",
    "minus": "minus",
}
#: Nesting and length beyond this are noise or an attack, not a formula.
_DEEPEST = 30
_LONGEST = 2000
_TEN = 10
#: The synthesizer reads "a" and often "A" as the article; this it reads as the letter.
_LETTER_A = "eh"
#: Before a parenthesis these are functions: "f(x)" is "f of x", but "n(x)" a product.
_CALLED = frozenset([*"fghFGHPQE", "prime", *GREEK.values(), *FUNCTIONS.values()])


def maths_words(formula: str) -> str:
    """Read a formula aloud.

    Args:
        formula: LaTeX without its delimiters, or plain notation ("x^2 ≤ 3/4").
            Broken markup is read as far as it goes.

    Returns:
        English words and digits; empty for an empty formula.
    """
    return _read(plain_scripts(formula[:_LONGEST]), 0)


def _read(formula: str, depth: int) -> str:
    words = _Reader(formula, depth).sequence("")
    words = re.sub(r"\s+", " ", words)
    words = re.sub(r"\s+([,;:.])", r"\1", words)
    words = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", words)
    return words.strip(" ,;")


class _Reader:
    """A recursive descent over the tokens of one formula."""

    def __init__(self, formula: str, depth: int) -> None:
        self._tokens: list[str] = _TOKEN.findall(formula)
        self._at = 0
        self._depth = depth

    def sequence(self, end: str) -> str:
        """Read up to the sign `end`, which is taken."""
        words: list[str] = []
        open_bar = False
        self._depth += 1
        while self._depth < _DEEPEST and self._at < len(self._tokens):
            sign = self._next()
            if sign == end:
                break
            if sign == "|":
                # A pair is an absolute value; a single bar is a condition.
                pair = open_bar or "|" in self._up_to(end)
                words.append(("," if open_bar else "the absolute value of") if pair else "given")
                open_bar = pair and not open_bar
                continue
            words.append(self._with_scripts(sign, words[-1] if words else ""))
        self._depth -= 1
        return " ".join(word for word in words if word)

    def _up_to(self, end: str) -> list[str]:
        rest = self._tokens[self._at :]
        return rest[: rest.index(end)] if end in rest else rest

    def _next(self) -> str:
        sign = self._tokens[self._at]
        self._at += 1
        return sign

    def _peek(self) -> str:
        """The next sign that is not white space; empty at the end."""
        while self._at < len(self._tokens) and self._tokens[self._at].isspace():
            self._at += 1
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _argument(self) -> str:
        """One sign or one group in braces."""
        self._depth += 1
        words = self._one() if self._depth < _DEEPEST else ""
        self._depth -= 1
        return words

    def _one(self) -> str:
        sign = self._peek()
        if not sign or sign in _CLOSE:
            return ""
        self._at += 1
        if sign == "{":
            return self.sequence("}")
        if sign in "+-−" and self._at < len(self._tokens) and self._tokens[self._at].isalnum():
            return f"{SYMBOLS[sign]} {self._one()}"
        if len(sign) > 1 and sign.isalnum():
            # Without braces, LaTeX takes one sign; plain notation means it all.
            return sign if sign.isdigit() else self._letters(sign)
        return self._atom(sign, "")

    def _raw(self) -> str:
        """A group in braces as text."""
        if self._peek() != "{":
            return self._argument()
        start, depth = self._at + 1, 0
        while self._at < len(self._tokens):
            depth += {"{": 1, "}": -1}.get(self._next(), 0)
            if not depth:
                break
        return "".join(self._tokens[start : self._at - 1]).strip()

    def _scripts(self) -> tuple[str, str]:
        """What stands below and above, in either order."""
        found = {"_": "", "^": ""}
        while (mark := self._peek()) in found and mark and not found[mark]:
            self._at += 1
            found[mark] = self._argument()
        return found["_"], found["^"]

    def _with_scripts(self, sign: str, before: str) -> str:
        if sign in BIG_OPERATORS:
            return self._big_operator(BIG_OPERATORS[sign])
        words = self._atom(sign, before)
        below, above = self._scripts()
        if below:
            link = "base" if words == "log" else "sub"
            if sign.isupper() and below.isdigit():
                # "H_2O": chemistry more often than an index.
                link = ""
            words = f"{words} {link} {below}"
            if self._peek() != "(" and words.startswith("log "):
                words += " of"
        if not above and words.count(" ") > 1 and sign == "(" and self._peek() == "/":
            return words if words.startswith("of ") else f"{words}, all"
        if above:
            power = _POWERS.get(above, f"to the power of {above}")
            # "a plus b, all squared": the power is of more than the last word.
            words = f"{words}, all {power}" if self._compound(words, sign) else f"{words} {power}"
        return words

    @staticmethod
    def _compound(words: str, sign: str) -> bool:
        return sign in _OPEN and " " in words

    def _atom(self, sign: str, before: str) -> str:
        if sign.isspace():
            return ""
        if sign in _OPEN:
            return self._group(sign, before)
        if sign.startswith("\\") and len(sign) > 1:
            return self._command(sign)
        if sign.isalpha() and sign.isascii():
            return self._letters(sign)
        return SYMBOLS.get(sign, "" if sign in _CLOSE else sign)

    def _letters(self, sign: str) -> str:
        if sign in FUNCTIONS:
            return FUNCTIONS[sign]
        if len(sign) >= _WORD:
            return sign
        return " ".join(_LETTER_A if letter in "aA" else letter for letter in sign)

    def _group(self, sign: str, before: str) -> str:
        inside = self.sequence(_OPEN[sign])
        if sign == "{" or not inside:
            return inside
        last = before.rsplit(maxsplit=1)[-1] if before else ""
        if before in _CALLED or last in _CALLED or before.startswith("log base"):
            return f"of {inside}"
        if last.isdigit() or len(last) == 1 or last == _LETTER_A:
            return f"times {inside}"
        return inside

    def _command(self, sign: str) -> str:
        name = sign[1:].rstrip("*")
        if name in DROPPED:
            return ""
        if name in DROPPED_WITH_ARGUMENT:
            self._raw()
            return ""
        if name in {"left", "right", "middle"}:
            if self._peek() == ".":
                self._at += 1
            return ""
        return self._command_with_arguments(name) or self._name(sign, name)

    def _command_with_arguments(self, name: str) -> str:
        if name in TEXT_COMMANDS:
            return self._raw()
        if name in ACCENTS:
            return ACCENTS[name].format(self._argument())
        structure = _STRUCTURES.get(name)
        return structure(self) if structure else ""

    @staticmethod
    def _name(sign: str, name: str) -> str:
        """What a command without arguments is called; by its own name if nobody knows."""
        fallback = name if name.isalpha() else ""
        return FUNCTIONS.get(name) or SYMBOLS.get(sign) or SYMBOLS.get(name, fallback)

    def _fraction(self) -> str:
        above, below = self._argument(), self._argument()
        if above.isdigit() and below.isdigit() and 0 < int(above) < int(below) < _TEN:
            # The synthesizer knows "three quarters".
            return f"{above}/{below}"
        return f"{above}{', all' if ' ' in above else ''} over {below}"

    def _root(self) -> str:
        degree = ""
        if self._peek() == "[":
            self._at += 1
            degree = self.sequence("]")
        kind = {"": "square", "2": "square", "3": "cube"}.get(degree, f"{degree}th")
        return f"the {kind} root of {self._argument()}"

    def _binomial(self) -> str:
        return f"{self._argument()} choose {self._argument()}"

    def _modulo(self) -> str:
        return f"modulo {self._argument()}"

    def _environment(self) -> str:
        name = self._raw().rstrip("*")
        if self._depth >= _DEEPEST:
            return ""
        if name == "array":
            self._raw()
        body = self._body()
        rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", body) if row.strip()]
        if _MATRICES.fullmatch(name):
            read = [
                f"row {number}: "
                + ", ".join(_read(cell, self._depth + 1) for cell in row.split("&"))
                for number, row in enumerate(rows, 1)
            ]
            return f"the matrix with {'; '.join(read)};"
        gap = ", " if name == "cases" else " "
        return ", ".join(_read(row.replace("&", gap), self._depth + 1) for row in rows)

    def _body(self) -> str:
        """The source up to the end of the environment, which is taken."""
        start, depth = self._at, 1
        while self._at < len(self._tokens):
            sign = self._next()
            depth += {"\\begin": 1, "\\end": -1}.get(sign, 0)
            if not depth:
                body = "".join(self._tokens[start : self._at - 1])
                self._raw()
                return body
        return "".join(self._tokens[start:])

    def _big_operator(self, name: str) -> str:
        while self._peek() in {"\\limits", "\\nolimits"}:
            self._at += 1
        below, above = self._scripts()
        if name == "limit":
            return f"the limit as {below.replace(' to ', ' approaches ')} of"
        if below and above:
            return f"the {name} from {below} to {above} of"
        return f"the {name} over {below} of" if below else f"the {name} of"


_STRUCTURES: dict[str, Callable[[_Reader], str]] = {
    "frac": _Reader._fraction,
    "dfrac": _Reader._fraction,
    "tfrac": _Reader._fraction,
    "cfrac": _Reader._fraction,
    "sqrt": _Reader._root,
    "binom": _Reader._binomial,
    "pmod": _Reader._modulo,
    "begin": _Reader._environment,
}
