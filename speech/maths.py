"""Mathematical notation, LaTeX or plain, into the words it is read as.

The wording follows what people say when they read a formula aloud ("x squared",
"a over b", "the sum from i equals 1 to n of"), short rather than unambiguous.
"""

import re
from collections.abc import Callable

from speech.maths_words import DROPPED, DROPPED_WITH_ARGUMENT, TEXT_COMMANDS, plain_scripts
from speech.wording import HIBARI, Wording

_TOKEN = re.compile(
    r"\\[A-Za-z]+\*?|\\.|\d+(?:,\d{3})*(?:\.\d+)?|[A-Za-z]+|[<>=!]=|->|=>|\S|\s", re.DOTALL
)
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, ")]}"
#: Longer runs of letters are words, shorter ones products of variables.
_WORD = 4
_MATRICES = re.compile(r"(?:[pbvVB]|small)?matrix")
#: Nesting and length beyond this are noise or an attack, not a formula.
_DEEPEST = 30
_LONGEST = 2000
_TEN = 10
#: White space beside a character of a script that has none.
_GAPS = re.compile(r"\s+(?=[\u2e80-\u9fff])|(?<=[\u2e80-\u9fff])\s+")


def maths_words(formula: str, wording: Wording = HIBARI) -> str:
    """Read a formula aloud.

    Args:
        formula: LaTeX without its delimiters, or plain notation ("x^2 ≤ 3/4").
            Broken markup is read as far as it goes.
        wording: In which words.

    Returns:
        Words and digits; empty for an empty formula.
    """
    return _read(plain_scripts(formula[:_LONGEST]), 0, wording)


def _read(formula: str, depth: int, wording: Wording) -> str:
    words = _Reader(formula, depth, wording).sequence("")
    words = re.sub(r"\s+", " ", words)
    words = re.sub(r"\s+([,;:.])", r"\1", words)
    words = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", words)
    if not wording.spaced:
        words = _GAPS.sub("", words)
    return words.strip(" ,;，；")


class _Reader:
    """A recursive descent over the tokens of one formula."""

    def __init__(self, formula: str, depth: int, wording: Wording) -> None:
        self._tokens: list[str] = _TOKEN.findall(formula)
        self._at = 0
        self._depth = depth
        self._wording = wording
        self._called = wording.called
        self._operators = wording.operators

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
                before, after = self._wording.absolute
                words.append((after if open_bar else before) if pair else self._wording.given)
                open_bar = pair and not open_bar
                continue
            if sign in "-−" and self._begins(words):
                words.append(self._wording.negative)
                continue
            words.append(self._with_scripts(sign, words[-1] if words else ""))
        self._depth -= 1
        return " ".join(word for word in words if word)

    def _begins(self, words: list[str]) -> bool:
        """Whether a number begins after these words."""
        last = next((word for word in reversed(words) if word), "")
        return not last or last in self._operators

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
            negative = sign in "-−"
            word = self._wording.negative if negative else self._wording.symbols[sign]
            return f"{word} {self._one()}"
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
        wording = self._wording
        if sign in wording.big_operators:
            return self._big_operator(wording.big_operators[sign])
        words = self._atom(sign, before)
        below, above = self._scripts()
        if below:
            link = wording.base if words == "log" else wording.index
            if sign.isupper() and below.isdigit():
                # "H_2O": chemistry more often than an index.
                link = "{} {}"
            words = link.format(words, below)
            if self._peek() != "(" and words.startswith("log "):
                words = f"{words} {wording.base_of}"
        if not above and words.count(" ") > 1 and sign == "(" and self._peek() == "/":
            return words if words.startswith("of ") else wording.whole.format(words)
        if above:
            power = wording.powers.get(above) or wording.power.format(above)
            # "a plus b, all squared": the power is of more than the last word.
            base = wording.whole.format(words) if self._compound(words, sign) else words
            words = f"{base} {power}"
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
        return self._wording.symbols.get(sign, "" if sign in _CLOSE else sign)

    def _letters(self, sign: str) -> str:
        if sign in self._wording.functions:
            return self._wording.functions[sign]
        if len(sign) >= _WORD:
            return sign
        letter_a = self._wording.letter_a
        return " ".join(letter_a if letter in "aA" else letter for letter in sign)

    def _group(self, sign: str, before: str) -> str:
        inside = self.sequence(_OPEN[sign])
        if sign == "{" or not inside:
            return inside
        last = before.rsplit(maxsplit=1)[-1] if before else ""
        if before in self._called or last in self._called or before.startswith("log "):
            return self._wording.of.format(inside)
        operand = len(last) == 1 and last not in {*self._operators, self._wording.negative}
        if last.isdigit() or operand or last == self._wording.letter_a:
            return self._wording.times.format(inside)
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
        if name in self._wording.accents:
            return self._wording.accents[name].format(self._argument())
        structure = _STRUCTURES.get(name)
        return structure(self) if structure else ""

    def _name(self, sign: str, name: str) -> str:
        """What a command without arguments is called; by its own name if nobody knows."""
        fallback = name if name.isalpha() else ""
        functions, symbols = self._wording.functions, self._wording.symbols
        return functions.get(name) or symbols.get(sign) or symbols.get(name, fallback)

    def _fraction(self) -> str:
        above, below = self._argument(), self._argument()
        if above.isdigit() and below.isdigit() and 0 < int(above) < int(below) < _TEN:
            # The synthesizer knows "three quarters".
            return self._wording.small_fraction.format(above=above, below=below)
        above = self._wording.whole.format(above) if " " in above else above
        return self._wording.fraction.format(above=above, below=below)

    def _root(self) -> str:
        degree = ""
        if self._peek() == "[":
            self._at += 1
            degree = self.sequence("]")
        root = self._wording.roots.get(degree, self._wording.root)
        return root.format(self._argument(), degree=degree)

    def _binomial(self) -> str:
        return self._wording.choose.format(self._argument(), self._argument())

    def _modulo(self) -> str:
        return self._wording.modulo.format(self._argument())

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
                self._wording.row.format(number, ", ".join(map(self._inner, row.split("&"))))
                for number, row in enumerate(rows, 1)
            ]
            return self._wording.matrix.format("; ".join(read))
        gap = ", " if name == "cases" else " "
        return ", ".join(self._inner(row.replace("&", gap)) for row in rows)

    def _inner(self, formula: str) -> str:
        return _read(formula, self._depth + 1, self._wording)

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
        wording = self._wording
        if name == wording.big_operators["\\lim"]:
            return wording.limit.format(below.replace(*wording.approaches))
        template = wording.span if below and above else wording.over if below else wording.all
        return template.format(name=name, below=below, above=above)


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
