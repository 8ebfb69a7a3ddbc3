import time

import pytest
from hibari import Hibari
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.maths import maths_words
from speech.sentences import spoken_clauses
from speech.spoken import CODE_REMARK, SpokenText, paragraphs, speakable, spoken


@pytest.fixture(scope="module")
def hibari():
    return Hibari()


def sounds(hibari, text):
    """Phonemes without stress and word joints, "to" and "a" in one form."""
    phonemes = "".join(hibari.phonemize(text))
    for sign in "ˈˌ .,;:":
        phonemes = phonemes.replace(sign, "")
    return phonemes.replace("tə", "tu").replace("ɐ", "A")


#: What is written, and the words it must sound like.
READINGS = [
    # Numbers: thousands, decimals, negative, ranges, years, ordinals, versions.
    (
        "1,234,567 people",
        "one million two hundred thirty four thousand five hundred sixty seven people",
    ),
    ("1,000,000.5", "one million point five"),
    ("3.14", "three point one four"),
    ("-5 degrees", "minus five degrees"),
    ("−5 degrees", "minus five degrees"),
    ("(-0.5)", "(minus zero point five)"),
    ("3-5 days", "three to five days"),
    ("3–5 days", "three to five days"),
    ("pages 10 – 20", "pages ten to twenty"),
    ("in 1999", "in nineteen ninety nine"),
    ("from 1990–1995", "from nineteen ninety to nineteen ninety five"),
    ("the 22nd", "the twenty second"),
    ("the 1<sup>st</sup>", "the first"),
    ("agent 007", "agent zero zero seven"),
    ("Python 3.11.2", "Python three point eleven point two"),
    ("v2.0", "version two point zero"),
    ("10.0.0.1", "ten dot zero dot zero dot one"),
    ("a 16:9 screen", "a sixteen to nine screen"),
    ("open 24/7", "open twenty four seven"),
    ("(555) 123-4567", "five five five, one two three, four five six seven"),
    # Times, currency, percent, units.
    ("10:30 pm", "ten thirty PM"),
    ("at 5 p.m. today", "at five PM today"),
    ("$3.50", "three dollars and fifty cents"),
    ("5€", "five euros"),
    ("5 USD", "five dollars"),
    ("$10-$20", "ten dollars to twenty dollars"),
    ("£5–10", "five pounds to ten"),
    ("50.5%", "fifty point five percent"),
    ("10%-20%", "ten percent to twenty percent"),
    ("5-10%", "five to ten percent"),
    ("20 °C", "twenty degrees Celsius"),
    ("5 m/s", "five meters per second"),
    ("10 km²", "ten square kilometers"),
    ("1 m³", "one cubic meter"),
    ("100 MB/s", "one hundred megabytes per second"),
    ("6'2\"", "six foot two"),
    ("5x faster", "five times faster"),
    ("1920×1080", "nineteen twenty by ten eighty"),
    # Fractions.
    ("3/4", "three quarters"),
    ("½ cup", "one half cup"),
    ("1½ cups", "one and one half cups"),
    ("⅔", "two thirds"),
    ("10/3", "ten over three"),
    ("8/10", "eight out of ten"),
    # Plain maths.
    ("2 + 2 = 4", "two plus two equals four"),
    ("5 - 3 = 2", "five minus three equals two"),
    ("7 − 2", "seven minus two"),
    ("2*3", "two times three"),
    ("5 × 3", "five times three"),
    ("10 ÷ 2", "ten divided by two"),
    ("x^2 + y^2 = z^2", "x squared plus y squared equals z squared"),
    ("x² + y³", "x squared plus y cubed"),
    ("2**10", "two to the power of ten"),
    ("10^-3", "ten to the power of minus three"),
    ("10⁷", "ten to the power of seven"),
    ("x/y", "x over y"),
    ("n-1", "n minus one"),
    ("f(x) = 2x + 1", "f of x equals two x plus one"),
    ("f'(x) = 3x^2", "f prime of x equals three x squared"),
    ("(x+y)/(2z)", "x plus y all over two z"),
    ("O(n log n)", "O of n log n"),
    ("$2H^+$", "two H plus"),
    ("$21.4T", "twenty one point four trillion dollars"),
    ("id <= 0", "id is less than or equal to zero"),
    ("sin(x)/cos(x)", "sine of x over cosine of x"),
    ("log2(8) = 3", "log base two of eight equals three"),
    ("x ≤ 5", "x is less than or equal to five"),
    ("x != 5", "x is not equal to five"),
    ("x ≠ y", "x is not equal to y"),
    ("a ≥ b", "eh is greater than or equal to b"),
    ("5 > 3", "five is greater than three"),
    (">= 5", "at least five"),
    ("≤ 10 ms", "at most ten milliseconds"),
    ("±5", "plus or minus five"),
    ("~5", "about five"),
    ("√2", "the square root of two"),
    ("√(x+1)", "the square root of x plus one"),
    ("π ≈ 3.14", "pie is approximately three point one four"),
    ("∞", "infinity"),
    ("1.5e-3", "one point five times ten to the power of minus three"),
    ("H₂O", "H two O"),
    ("CO₂", "C O two"),
    ("α and Δx", "alpha and delta x"),
    # LaTeX.
    (r"$\frac{a}{b}$", "eh over b"),
    (r"$\frac{3}{4}$", "three quarters"),
    (r"\(\sqrt{x^2}\)", "the square root of x squared"),
    (r"$\sqrt[3]{27} = 3$", "the cube root of twenty seven equals three"),
    (
        r"$$x = \frac{-b \pm \sqrt{b^2 - 4c}}{2}$$",
        "x equals minus b plus or minus the square root of b squared minus four c all over two",
    ),
    (
        r"\[\sum_{i=1}^{n} i^2\]",
        "the sum from i equals one to n of i squared",
    ),
    (
        r"$\int_0^\infty e^{-x}\,dx$",
        "the integral from zero to infinity of e to the power of minus x d x",
    ),
    (r"$\lim_{x \to 0} f(x)$", "the limit as x approaches zero of f of x"),
    (r"$x_i \leq \alpha \times \beta$", "x sub i is less than or equal to alpha times beta"),
    (r"$\left( n+1 \right)^2$", "n plus one all squared"),
    (r"$\binom{n}{k}$", "n choose k"),
    (r"$P(X|Y)$", "P of X given Y"),
    (r"$|x| < 5$", "the absolute value of x is less than five"),
    (r"$90^\circ$", "ninety degrees"),
    (r"$\vec{F} = m\cdot g$", "vector F equals m times g"),
    (r"$\text{speed} = \frac{d}{t}$", "speed equals d over t"),
    (
        r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$",
        "the matrix with row one one two row two three four",
    ),
    # Signs, addresses, abbreviations.
    ("C# and C++", "C sharp and C plus plus"),
    ("A → B", "A to B"),
    ("A -> B", "A to B"),
    ("Tom & Jerry", "Tom and Jerry"),
    ("§5", "section five"),
    ("© 2024 Foo™", "copyright 2024 foo"),
    ("me@example.com", "me at example dot com"),
    ("https://www.example.com/docs?x=1#y", "example dot com slash docs"),
    ("see example.com.", "see example dot com."),
    ("i.e. 50% off", "that is fifty percent off"),
    ("e.g. Paris", "for example Paris"),
    ("No. 5 and Fig. 3", "number five and figure three"),
    ("the U.S. Army", "the U S Army"),
    ("this - or that", "this, or that"),
]


@pytest.mark.parametrize(("written", "words"), READINGS)
def test_sounds_like_the_words(hibari, written, words):
    assert sounds(hibari, spoken(written)) == sounds(hibari, words)


def test_readings_are_many():
    assert len(READINGS) >= 60


@pytest.mark.parametrize(
    "text",
    [
        "1,234 people paid $3.50 each.",
        "On the 3rd of March 2024, at 7:30 pm, it was 20°C.",
        "It's 5 km/h, and/or 100 kg.",
        "Mr. Smith's TCP/IP and R&D.",
        "Well-known state-of-the-art x-ray and F-16 things.",
        'He said "no" (twice).',
        "The plan: A/B testing on 9/11.",
        "Wait... what?",
        "naïve café in Zürich",
    ],
)
def test_what_the_synthesizer_reads_well_is_left_alone(text):
    assert spoken(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A *heading*", "A heading."),
        ("**Bold**, _italic_, `code`, ~~gone~~, ***both***", "Bold, italic, code, gone, both"),
        ("A [link](https://example.com/a_(b)) here", "A link here"),
        ("An ![image of a cat](cat.png) here", "An image of a cat here"),
        ("<https://example.com>", "example dot com"),
        ("- one\n- two\n  * three", "one. two. three."),
        ("1. First\n2) Second", "1, First. 2, Second."),
        ("- [x] done\n- [ ] open", "done. open."),
        ("| Name | Age |\n|:---|---:|\n| Ann | 5 |", "Name, Age. Ann, 5."),
        ("> A quote\n> goes on.", "A quote goes on."),
        ("One\n\n---\n\nTwo", "One Two"),
        ("Hard\nwrapped lines\nare one.", "Hard wrapped lines are one."),
        ("Look:\n```python\nx = 1\n```\nGood.", f"Look: {CODE_REMARK} Good."),
        ("```\na\n```\n\n~~~\nb\n~~~\nEnd.", f"{CODE_REMARK} End."),
        ("```\n# never closed\n- x", CODE_REMARK),
        ("<b>Bold</b><br>next &amp; last", "Bold, next and last"),
        ("Hello 😀 world 👩‍👩‍👧 1️⃣!", "Hello world 1!"),
        ("A\u200bB \u202edef\u202c \x00\x07end", "AB def end"),
        ("What?!?! No!!!! So.....", "What? No! So..."),
        ("It is so [1], really [2, 3].", "It is so, really."),
        ("**Unclosed, and _this", "Unclosed, and this"),
        ("file(s) of foo() in snake_case", "files of foo in snake case"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "Full width"),
        ("costs $5 and $10", "costs $5 and $10"),
        ("你好 hello。", "hello."),
    ],
)
def test_markup(text, expected):
    assert spoken(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "...", "---", "***", "😀", "你好", "مرحبا", "λόγος", "\u200b", "|---|", "()", "$$$$"],
)
def test_nothing_to_say(text):
    assert spoken(text) == ""
    assert not speakable(text)


@pytest.mark.parametrize("text", ["a", "5", "É", "hello 你好", "٣", "π", "√2", "50%"])
def test_speakable(text):
    assert speakable(text)


def test_other_scripts_do_not_break_the_synthesizer(hibari):
    for text in ("你好，世界", "مرحبا بالعالم", "Привет мир", "नमस्ते", "สวัสดี", "\U0001f600"):
        hibari.phonemize(spoken(text))
        hibari.phonemize(spoken(f"Say {text} now."))


def test_a_stream_with_blocks():
    text = (
        "Certainly, here it is:\n\n```python\nprint(1, 2)\n# not a heading\n```\n\n"
        "The formula:\n\\[\nx = \\frac{a}{2}\n\\]\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n"
        "- **first**, then\n- second\n\n```\nmore\n```\nDone. It works!"
    )
    expected = [
        "Certainly,",
        "here it is:",
        CODE_REMARK,
        "The formula:",
        "x equals eh over 2.",
        "A, B.",
        "1, 2.",
        "first, then.",
        "second.",
        "Done. It works!",
    ]
    assert [said.strip() for said in spoken_clauses([text])] == expected
    assert [said.strip() for said in spoken_clauses(text)] == expected


def test_a_formula_that_never_ends_is_said_at_the_end():
    tokens = ["So:\n", "$$\nx^2\n", "+ 1\n"]
    assert list(spoken_clauses(tokens)) == ["So:\n", "x squared plus 1"]


def test_a_stray_mark_does_not_swallow_the_text():
    lines = ["$$\n", *["Some words of a long text.\n"] * 60, "The end.\n"]
    assert list(spoken_clauses(lines))[-1] == "The end.\n"


def test_code_in_a_list():
    text = "1. Run:\n\n    ```sh\n    ls, x\n    ```\n\n2. Look."
    said = [clause.strip() for clause in spoken_clauses([text])]
    assert said == ["1, Run:", CODE_REMARK, "2, Look."]


def test_line_breaks_are_kept_for_the_pause():
    text = "# Title\n\nOne line,\nanother.\n\nEnd."
    assert list(spoken_clauses([text])) == ["Title.\n\n", "One line,\n", "another.\n\n", "End."]


def test_wrapped_text_is_not_cut_at_its_lines():
    text = "This is a mail that was\nwrapped. It goes\non.\n\n- an item\n  of two lines\n"
    said = [clause.strip() for clause in spoken_clauses(paragraphs(text))]
    assert said == ["This is a mail", "that was wrapped.", "It goes on.", "an item of two lines."]


def test_texts_do_not_share_state():
    one, two = SpokenText(), SpokenText()
    assert one.feed("```\n") == CODE_REMARK
    assert two.feed("Hello.\n") == "Hello."
    assert one.feed("Hello.\n") == ""


@pytest.mark.parametrize(
    "formula",
    [
        *["", "{", "}", "\\", "\\frac", "\\frac{", "^", "_", "x^", "\\left(", "\\begin{matrix}"],
        *[
            "\\begin{",
            "\\end{x}",
            "&&&",
            "\\\\",
            "\\sqrt[",
            "|",
            "|x",
            "((((",
            "))))",
            "\\unknown{x}",
        ],
    ],
)
def test_broken_formulas_are_read_as_far_as_they_go(formula):
    assert "{" not in maths_words(formula)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "(",
        "[",
        "{",
        "$",
        "\\frac",
        "1+",
        "x^",
        "*a",
        "`",
        "<b",
        "1/",
        "../a.b",
        "α",
        "**",
        "![",
        "~",
    ],
)
def test_pathological_texts_take_no_time(unit):
    began = time.perf_counter()
    spoken(unit * 20_000)
    maths_words(unit * 20_000)
    list(spoken_clauses([unit * 20_000]))
    assert time.perf_counter() - began < 6


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    *"ab1 .,!?\n#*_`~|>-+=/^<()[]{}$\\\"'&%@:²½√≤π→",
                    "$$",
                    "```",
                    "\\frac",
                    "\\[",
                    "- ",
                ]
            ),
            max_size=80,
        ).map("".join),
    )
)
@settings(max_examples=300, deadline=None)
def test_anything_becomes_one_clean_line(text):
    said = spoken(text)
    assert said == " ".join(said.split())
    assert said == "" or any(char.isalnum() for char in said)
    assert not set(said) & set("*_`^~|{}[]\\\n\x00\u200b\u202e")
    for clause in spoken_clauses([text]):
        assert any(char.isalnum() for char in clause)


def test_speed():
    text = "It is **5 km** to [there](https://example.com), i.e. $x^2$ or 3-5 days. " * 100
    began = time.perf_counter()
    spoken(text)
    took = time.perf_counter() - began
    print(f"{len(text)} characters cleaned in {took * 1000:.0f} ms")
    assert took < 2
