"""How mathematics is said in one language."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from speech.maths_words import ACCENTS, BIG_OPERATORS, FUNCTIONS, GREEK, SYMBOLS


@dataclass(frozen=True, slots=True)
class Wording:
    """Words and templates; what a template leaves open stands in braces.

    Attributes:
        symbols: What each sign and command of a formula is called.
        functions: What functions are called.
        big_operators: What operators with limits are called.
        accents: How a mark over a letter is read.
        powers: How powers are read that have a name, by the words of what stands above.
        power: Any other power.
        whole: What a power or a fraction is of, if it is more than one word.
        index: What stands below.
        base: The base of a logarithm.
        base_of: Comes after it, where no parenthesis follows.
        fraction: Above and below.
        small_fraction: The same of two small numbers.
        roots: Roots that have a name, by their degree.
        root: Any other.
        choose: The binomial coefficient.
        modulo: Of what.
        absolute: Before and after.
        given: The bar of a condition.
        of: What a function is of.
        times: What a number before a parenthesis is multiplied by.
        negative: The sign of a number.
        row: Of a matrix.
        matrix: Of rows.
        limit: The limit, as something approaches something.
        approaches: What "to" is in it, and what it becomes.
        span: An operator from something to something.
        over: An operator over something.
        all: An operator alone.
        letter_a: How the letter is written, so that nobody takes it for the article.
        spaced: Words are kept apart by spaces.
    """

    symbols: Mapping[str, str]
    functions: Mapping[str, str]
    big_operators: Mapping[str, str]
    accents: Mapping[str, str]
    powers: Mapping[str, str]
    power: str
    whole: str
    index: str
    base: str
    base_of: str
    fraction: str
    small_fraction: str
    roots: Mapping[str, str]
    root: str
    choose: str
    modulo: str
    absolute: tuple[str, str]
    given: str
    of: str
    times: str
    negative: str
    row: str
    matrix: str
    limit: str
    approaches: tuple[str, str]
    span: str
    over: str
    all: str
    letter_a: str = "a"
    spaced: bool = True

    @property
    def called(self) -> frozenset[str]:
        """Before a parenthesis these are functions: "f(x)" is "f of x", but "n(x)" a product."""
        return frozenset(
            [*"fghFGHPQE", self.symbols["'"], *GREEK.values(), *self.functions.values()]
        )

    @property
    def operators(self) -> frozenset[str]:
        """Words after which a minus is the sign of a number."""
        signs = ("+", "-", "=", "<", ">", "<=", ">=", "!=", "*", "/", "±", "×", "÷", "≈", "≠", "≤")
        return frozenset(self.symbols[sign] for sign in signs)


ENGLISH = Wording(
    symbols=SYMBOLS,
    functions=FUNCTIONS,
    big_operators=BIG_OPERATORS,
    accents=ACCENTS,
    powers={
        "2": "squared",
        "3": "cubed",
        "T": "transpose",
        "degrees": "degrees",
        "prime": "prime",
        "times": "star",
        # Charges: "H^+".
        "plus": "plus",
        "minus": "minus",
    },
    power="to the power of {}",
    whole="{}, all",
    index="{} sub {}",
    base="{} base {}",
    base_of="of",
    fraction="{above} over {below}",
    small_fraction="{above}/{below}",
    roots={
        "": "the square root of {}",
        "2": "the square root of {}",
        "3": "the cube root of {}",
    },
    root="the {degree}th root of {}",
    choose="{} choose {}",
    modulo="modulo {}",
    absolute=("the absolute value of", ","),
    given="given",
    of="of {}",
    times="times {}",
    negative="minus",
    row="row {}: {}",
    matrix="the matrix with {};",
    limit="the limit as {} of",
    approaches=(" to ", " approaches "),
    span="the {name} from {below} to {above} of",
    over="the {name} over {below} of",
    all="the {name} of",
)

#: For hibari, which reads "a" and often "A" as the article; this it reads as the letter.
HIBARI = replace(ENGLISH, letter_a="eh")
