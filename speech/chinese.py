"""How numbers, units and mathematics are said in Chinese.

What a Chinese reader says differently from how it is written becomes characters ("x^2" is
"x的平方", "3/4" is "4分之3", "-5°C" is "负5摄氏度"). Digits stay digits: voices read them.
"""

import re
from collections.abc import Callable

from speech.maths_words import ACCENTS, BIG_OPERATORS, FUNCTIONS, SYMBOLS
from speech.wording import ENGLISH, Wording

_SYMBOLS = {
    "plus": "加",
    "minus": "减",
    "plus or minus": "正负",
    "minus or plus": "负正",
    "times": "乘",
    "divided by": "除以",
    "over": "除以",
    "equals": "等于",
    "is less than": "小于",
    "is greater than": "大于",
    "is less than or equal to": "小于等于",
    "is greater than or equal to": "大于等于",
    "is much less than": "远小于",
    "is much greater than": "远大于",
    "is not equal to": "不等于",
    "is approximately": "约等于",
    "is congruent to": "全等于",
    "is equivalent to": "恒等于",
    "is proportional to": "正比于",
    "is similar to": "相似于",
    "to": "趋于",
    "maps to": "映射到",
    "implies": "推出",
    "if and only if": "当且仅当",
    "to and from": "双向对应",
    "infinity": "无穷大",
    "partial": "偏",
    "the square root of": "根号",
    "the cube root of": "立方根号",
    "the sum of": "求和",
    "the product of": "求积",
    "the integral of": "积分",
    "the double integral of": "二重积分",
    "the contour integral of": "环路积分",
    "in": "属于",
    "not in": "不属于",
    "contains": "包含",
    "is a subset of": "包含于",
    "is a superset of": "包含",
    "union": "并",
    "intersection": "交",
    "the empty set": "空集",
    "for all": "任意",
    "there exists": "存在",
    "not": "非",
    "and": "且",
    "or": "或",
    "of": "复合",
    "therefore": "所以",
    "because": "因为",
    "angle": "角",
    "is perpendicular to": "垂直于",
    "is parallel to": "平行于",
    "prime": "撇",
    "double prime": "两撇",
    "per mille": "‰",
    "factorial": "的阶乘",
    "percent": "%",
    "degrees": "度",
    "and so on": "等等",
    ", and so on,": "，等等，",
    "number": "号",
    "dollars": "美元",
    "given": "给定",
    "the real part of": "实部",
    "the imaginary part of": "虚部",
    "pi": "派",
}
#: Others are known by their English names in Chinese, too.
_FUNCTIONS = {
    "natural log": "自然对数",
    "exponential": "指数函数",
    "min": "最小值",
    "max": "最大值",
    "supremum": "上确界",
    "infimum": "下确界",
    "determinant": "行列式",
    "dimension": "维数",
    "kernel": "核",
    "gcd": "最大公约数",
    "argument": "辐角",
    "modulo": "模",
    "the square root": "根号",
}
_OPERATORS = {
    "sum": "求和",
    "product": "求积",
    "integral": "积分",
    "double integral": "二重积分",
    "triple integral": "三重积分",
    "contour integral": "环路积分",
    "union": "并集",
    "intersection": "交集",
    "limit": "极限",
    "maximum": "最大值",
    "minimum": "最小值",
    "supremum": "上确界",
    "infimum": "下确界",
}
_ACCENTS = {
    "{} hat": "{}帽",
    "{} bar": "{}横",
    "vector {}": "向量{}",
    "{} tilde": "{}波浪",
    "{} dot": "{}点",
    "{} double dot": "{}两点",
}

CHINESE = Wording(
    symbols={sign: _SYMBOLS.get(words, words) for sign, words in SYMBOLS.items()},
    functions={name: _FUNCTIONS.get(words, words) for name, words in FUNCTIONS.items()},
    big_operators={sign: _OPERATORS[words] for sign, words in BIG_OPERATORS.items()},
    accents={name: _ACCENTS.get(words, words) for name, words in ACCENTS.items()},
    powers={
        "2": "的平方",
        "3": "的立方",
        "T": "的转置",
        "度": "度",
        "撇": "撇",
        "乘": "星",
        "加": "正",
        "减": "负",
        "负": "负",
    },
    power="的{}次方",
    whole="{}整体",
    index="{} {}",
    base="{} 以{}为底",
    base_of="",
    fraction="{below}分之{above}",
    small_fraction="{below}分之{above}",
    roots={"": "根号{}", "2": "根号{}", "3": "{}的立方根"},
    root="{}的{degree}次方根",
    choose="{}选{}",
    modulo="模{}",
    absolute=("绝对值", ""),
    given="给定",
    of="{}",
    times="乘{}",
    negative="负",
    row="第{}行{}",
    matrix="矩阵，{}；",
    limit="当{}时，极限",
    approaches=("→", "趋于"),
    span="从{below}到{above}{name}",
    over="在{below}上{name}",
    all="{name}",
    letter_a=ENGLISH.letter_a,
    spaced=False,
)

#: Characters that a negative number follows.
_AFTER = "(?<=[是为到约至于得达有了])"
_N = r"\d+(?:,\d{3})*(?:\.\d+)?"
_UNITS = {
    "km": "公里",
    "m": "米",
    "cm": "厘米",
    "mm": "毫米",
    "μm": "微米",
    "nm": "纳米",
    "kg": "千克",
    "g": "克",
    "mg": "毫克",
    "t": "吨",
    "L": "升",
    "l": "升",
    "mL": "毫升",
    "ml": "毫升",
    "h": "小时",
    "min": "分钟",
    "s": "秒",
    "ms": "毫秒",
    "W": "瓦",
    "kW": "千瓦",
    "kWh": "千瓦时",
    "V": "伏",
    "A": "安",
    "J": "焦",
    "kJ": "千焦",
    "N": "牛",
    "Pa": "帕",
    "kPa": "千帕",
    "Hz": "赫兹",
    "kHz": "千赫",
    "MHz": "兆赫",
    "GHz": "吉赫",
    "dB": "分贝",
    "kcal": "千卡",
    "px": "像素",
    "°C": "摄氏度",
    "°F": "华氏度",
    "°": "度",
}
_AREAS = ("²", "^2", "平方"), ("³", "^3", "立方")
_CURRENCIES = {"$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "￥": "元"}
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_LENGTH = "km|cm|mm|m"
_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5)} | {
    "⅛": (1, 8),
    "⅜": (3, 8),
    "⅝": (5, 8),
    "⅞": (7, 8),
}
#: "9/11" and "5/20" are dates, "3/4" and "45/90" are not.
_MONTHS, _DAYS, _SMALL, _LARGEST = 12, 31, 10, 100
_HAN = r"[\u3400-\u9fff\uf900-\ufaff]"
#: Characters and marks of Chinese.
_CHINESE = re.compile(rf"{_HAN}|[，。！？；：、（）]")
_KANA = re.compile(r"[\u3040-\u30ff]")
#: Marks that were made plain, after a character or before one.
_MARKS = dict(zip(",!?;:", "，！？；：", strict=True))


def is_chinese(text: str) -> bool:
    """Whether a text is Chinese, or has Chinese in it; Japanese is not."""
    return bool(_CHINESE.search(text)) and not _KANA.search(text)


def _area(match: re.Match[str]) -> str:
    kind = next(word for *signs, word in _AREAS if match[3] in signs)
    return f"{match[1]}{kind}{_UNITS[match[2]]}"


def _percent(match: re.Match[str]) -> str:
    first, second = match[1], match[2]
    return f"百分之{first}到{second}" if second else f"百分之{first}"


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1], match[2]
    date = int(above) <= _MONTHS and _SMALL < int(below) <= _DAYS
    part = 0 < int(above) < int(below) <= _LARGEST
    return f"{below}分之{above}" if part and not date else match.group()


def _mixed(match: re.Match[str]) -> str:
    above, below = _VULGAR[match[2]]
    return f"{match[1]}又{below}分之{above}" if match[1] else f"{below}分之{above}"


def _scientific(match: re.Match[str]) -> str:
    sign = "负" if match[2] == "-" else ""
    return f"{match[1]}乘10的{sign}{int(match[3])}次方"


_AREA = re.compile(rf"({_N})\s?({_LENGTH})(²|³|\^2|\^3)(?!\s?[-+*/=<>^])")
_PLAIN_MARK = re.compile(rf"(?<={_HAN})[,!?;:](?!\d)|[,!?;:](?=\s*(?:{_HAN}|$))")

#: Applied in this order.
_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"(?<![\d.a-zA-Z])({_N})[eE]([+-]?)(\d{{1,3}})(?![\da-zA-Z])", _scientific),
        (rf"(\d+)?([{''.join(_VULGAR)}])", _mixed),
        (r"(?<![\d/.a-zA-Z-])(\d+)/(\d+)(?![\d/a-zA-Z%-])", _fraction),
        # The sign of a number; between two numbers, a hyphen is a span, a score, or a date.
        # After a character it may be a name: "歼-20".
        (rf"(?<![\w)\]%-])[-−](?=\d)|{_AFTER}[-−](?=\d)|[-−](?={_N}\s?(?:°|度|摄氏))", "负"),
        (rf"(?<![\d.])({_N})(?:%?\s?[-–~～—至到]\s?({_N}))?\s?%", _percent),
        (rf"(?<![\d.])({_N})\s?‰", r"千分之\1"),
        (rf"(?<![\d.-])({_N})\s?[–~～—]\s?(?={_N})", r"\1到"),
        (rf"(?<![\d.-])({_N})-(?={_N}\s?(?:{_UNIT}|[\u4e00-\u9fff]))", r"\1到"),
        (rf"([{''.join(_CURRENCIES)}])\s?({_N})", lambda m: f"{m[2]}{_CURRENCIES[m[1]]}"),
        (rf"({_N})\s?([€£])", lambda m: f"{m[1]}{_CURRENCIES[m[2]]}"),
        (
            rf"({_N})\s?({_UNIT})/({_UNIT})(?![a-zA-Z²³^])",
            lambda m: f"{m[1]}{_UNITS[m[2]]}每{_UNITS[m[3]]}",
        ),
        (
            rf"(?<![a-zA-Z.])({_N})\s?({_UNIT})(?![a-zA-Z/²³^'’])",
            lambda m: f"{m[1]}{_UNITS[m[2]]}",
        ),
        # "3次/分钟", but not "男/女".
        (r"(?<=\d)([\u4e00-\u9fff]{1,3})/(?=[\u4e00-\u9fff])", r"\1每"),
        (r"(?<![\d:])(\d+):(\d)(?![\d:])", r"\1比\2"),
        (r"(?<![\d:])(16|21):(9|10)(?![\d:])", r"\1比\2"),
        (r"(?<=\d)\s?[x×*]\s?(?=\d)", "乘"),
        (r"(?:~|≈|～)\s?(?=[\d])", "约"),
        (r"\s?(?:<=|≤)\s?", "小于等于"),
        (r"\s?(?:>=|≥)\s?", "大于等于"),
        (r"\s?(?:!=|≠)\s?", "不等于"),
        (r"\s?===?\s?", "等于"),
        (r"\s?&\s?(?=[\u4e00-\u9fff])", "和"),
        (r"(?<=[\u4e00-\u9fff])\s?(?:->|→)\s?", "到"),
    )
)
_SIGNS = {sign: CHINESE.symbols[sign] for sign in "±×÷≈≡∞√∑∫∈∉⊂∪∩∅∀∃∴∵∠⊥∥πΠ"}


def chinese_words(text: str) -> str:
    """One line of Chinese text without markup as it is said.

    Args:
        text: A clause or sentence; formulas are words already.

    Returns:
        The same text with the numbers, units and signs in it put into words.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    return text


def chinese_area(text: str) -> str:
    """A text with its areas and volumes in words; else they would be taken for powers."""
    return _AREA.sub(_area, text)


def chinese_marks(text: str) -> str:
    """A text with the marks of Chinese at its characters, and without space there."""
    text = re.sub(rf"\s+(?={_HAN})|(?<={_HAN})\s+", "", text)
    return _PLAIN_MARK.sub(lambda match: _MARKS[match.group()], text)
