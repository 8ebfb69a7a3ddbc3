"""Formulas in running text: where they are and how they are read."""

import re

from speech.maths import maths_words
from speech.maths_words import FUNCTIONS, GREEK, SUBSCRIPTS, SUPERSCRIPTS
from speech.wording import HIBARI, Wording

_LETTER = f"A-Za-z{''.join(GREEK)}"
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_NAME = rf"(?:log(?:2|10)|{'|'.join(sorted(FUNCTIONS, key=len, reverse=True))})(?![{_LETTER}])"
_POWER = rf"(?:[{SUPERSCRIPTS}]+|\^[-−+]?(?:{_NUMBER}|[{_LETTER}](?![{_LETTER}])))"
_INDEX = rf"(?:[{SUBSCRIPTS}]+|_(?:\d+|[{_LETTER}])(?![{_LETTER}\d]))"
_UNIT = (
    r"(?:[kcmnμ]m|[kmμ]g|[kmM]?[lLWVAJBb]|[nmμ]?s|[kMGT][BW]|[kMG]?Hz|ft|in|lb|oz|px|pt|[ap]m"
    r"|st|nd|rd|th|h)(?![A-Za-z])"
)
_PRIMARY = re.compile(
    # "2x", "2ab", but no "2kg" and no "1e5".
    rf"(?:{_NUMBER}(?![eE][-+]?\d)(?:(?!{_UNIT})[{_LETTER}]{{1,2}}(?![{_LETTER}]))?"
    rf"|{_NAME}|(?!{_UNIT})[a-z]{{2}}(?=[{SUPERSCRIPTS}^])|[{_LETTER}](?:['′]{{1,2}}(?=\()|(?![{_LETTER}\d'’]))|∞|∂)"
    rf"(?:{_INDEX})?(?:{_POWER})?%?!?(?![{_LETTER}\d])"
)
_SUFFIX = re.compile(rf"(?:{_INDEX})?(?:{_POWER})?")
_SIGN = re.compile(r"[-−+±]|[√∛]")
_OPERATOR = re.compile(
    r"(?P<spaced>[ ]?)(?P<sign>\*\*|<=|>=|[!=]=|[-−–+*/^=<>≤≥≠±×÷·⋅≈≡∈∝])(?(spaced)[ ]?)"
)
#: Operators that make a formula of anything they stand between.
_CLEAR = re.compile(r"[\^=<>≤≥≠±×÷·⋅≈≡∈∝√∛∞*+]")
#: Characters of scripts that put no space between a word and a formula.
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_JOINED = re.compile(r"[-_/.,:–'’$€£#@&\\^]")
_FOLLOWING = re.compile(rf"(?!{_WIDE.pattern})(?:[\w/\\@^]|[-–.,:*_](?!{_WIDE.pattern})\w)")
_DEEPEST = 8
#: Abbreviations with a slash.
_SLASHED = frozenset(["n/a", "w/o", "c/o", "b/c", "i/o", "a/c", "p/e", "r/w", "y/n"])
_SIMPLE_FRACTION = 10
_MONTHS, _DAYS = 12, 31
_PAIR = 2

#: LaTeX in text. A dollar opens maths if no space follows it, and closes it if none
#: is before and no digit after (pandoc's rule), so that "$5 and $10" are prices.
LATEX = re.compile(
    r"\$\$(?P<display>.+?)\$\$|\\\[(?P<bracket>.+?)\\\]|\\\((?P<paren>.+?)\\\)"
    r"|(?<![\w\\$])\$(?P<dollar>(?![\s$])[^$\n]*?(?<![\s\\]))\$(?![\w$])"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.+?\\end\{(?P=name)\})",
    re.DOTALL,
)


def latex_words(match: re.Match[str], wording: Wording = HIBARI) -> str:
    """Words for a match of `LATEX`."""
    groups = ("display", "bracket", "paren", "dollar", "environment")
    formula = next(match[group] for group in groups if match[group] is not None)
    return maths_words(formula, wording)


def formula_at(text: str, at: int, wording: Wording = HIBARI) -> tuple[int, str] | None:
    """A formula in plain notation that begins at a position.

    Takes what is one beyond doubt: "x^2 + y^2 = z^2", "2*3", "a/b", "10/3", "n-1",
    but not "3-5" (a range), "24/7", "and/or", "5/12" (a date), "A/B".

    Args:
        text: Running text.
        at: Where to look.
        wording: In which words.

    Returns:
        Where it ends and its words, or None if there is none.
    """
    before = text[at - 1 : at]
    if _JOINED.match(before) or (before.isalnum() and not _WIDE.match(before)):
        return None
    if re.search(r"\d\s?$", text[max(0, at - 2) : at]) and text[at].isalpha():
        return None  # A unit: "5 m/s".
    end = _expression(text, at, 0)
    if end is None:
        return None
    formula = text[at:end]
    following = text[end : end + 2]
    # "5/12/2024", "3.5.1", "a/b.txt", "x-ray": more than it seems.
    if _FOLLOWING.match(following) or not _is_formula(formula):
        return None
    formula = re.sub(r"log(2|10)(?=\()", r"log_{\1}", formula)
    return end, maths_words(formula.replace("**", "^").replace("–", "-"), wording)


def _expression(text: str, at: int, depth: int) -> int | None:
    """The end of operands with operators between them."""
    end = _operand(text, at, depth)
    while end is not None:
        operator = _OPERATOR.match(text, end)
        # "a -b" is no difference: the same space on both sides.
        if operator is None or (text[operator.end() - 1] == " ") != bool(operator["spaced"]):
            return end
        following = _operand(text, operator.end(), depth)
        if following is None:
            return end
        end = following
    return None


def _operand(text: str, at: int, depth: int) -> int | None:
    if sign := _SIGN.match(text, at):
        at = sign.end()
    if text[at : at + 1] == "(":
        return _parenthesis(text, at, depth)
    primary = _PRIMARY.match(text, at)
    if primary is None:
        return None
    end = primary.end()
    if text[end : end + 1] == "(" and not primary.group()[0].isdigit():
        # A call; without its closing parenthesis, the name alone.
        return _parenthesis(text, end, depth) or end
    return end


def _parenthesis(text: str, at: int, depth: int) -> int | None:
    """The end of "(...)" with expressions, maybe several, and a power after it."""
    if depth >= _DEEPEST:
        return None
    end = _expression(text, at + 1, depth + 1)
    while end is not None and (comma := re.compile(r", ?").match(text, end)):
        end = _expression(text, comma.end(), depth + 1)
    if end is None or text[end : end + 1] != ")":
        return None
    suffix = _SUFFIX.match(text, end + 1)
    assert suffix is not None
    return suffix.end()


def _is_formula(formula: str) -> bool:
    """Whether an expression is maths, not a range, a date or an abbreviation."""
    if re.search(rf"[{_LETTER})\d][{SUPERSCRIPTS}]", formula):
        return True
    if re.fullmatch(r"\d{3,}×\d{3,}", formula):
        return False  # The size of a picture.
    if call := re.fullmatch(r"([a-zA-Z]+)\d*\([^()]*\)", formula):
        return len(call[1]) == 1 or call[1] in FUNCTIONS
    bare = formula.strip("()").lstrip("+-−± ")
    if _CLEAR.search(bare) or "√" in formula or "∛" in formula:
        return True
    if "/" in bare:
        return _is_quotient(bare)
    return _is_difference(bare)


def _is_quotient(formula: str) -> bool:
    parts = [part.strip() for part in formula.split("/")]
    if len(parts) > _PAIR or formula.lower() in _SLASHED or formula == "24/7":
        return False
    above, below = parts
    if above.isdigit() and below.isdigit():
        small = 0 < int(above) < int(below) < _SIMPLE_FRACTION
        date = int(above) <= _MONTHS and _SIMPLE_FRACTION < int(below) <= _DAYS
        return not small and not date and int(below) != _SIMPLE_FRACTION
    # "A/B", "TCP/IP" are names.
    return not formula.isupper() and not re.fullmatch(r"[A-Z]/[A-Z]", formula)


def _is_difference(formula: str) -> bool:
    parts = re.split(r" ?[-−–] ?", formula)
    if len(parts) < _PAIR or not all(parts):
        return False
    if all(re.fullmatch(rf"{_NUMBER}%?", part) for part in parts):
        # "5 - 3" goes down, "3 - 5" is a range; without spaces it is one either way.
        first, second, *_ = (float(part.rstrip("%").replace(",", "")) for part in parts)
        return "−" in formula or (" " in formula and first > second)
    letters = [part for part in parts if part.isalpha()]
    if len(letters) == len(parts):
        return " " in formula and not any(part.isupper() for part in letters)
    # "n-1", but not "A-4" or "F-16".
    return not any(part.isupper() for part in parts)
