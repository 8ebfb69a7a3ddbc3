"""Numbers, units and mathematics in Chinese text, and what must stay as it is."""

import pytest

from speech.chinese import CHINESE
from speech.maths import maths_words
from speech.spoken import CODE_REMARK_CHINESE, SpokenText


def spoken(text):
    cleaner = SpokenText(every_script=True)
    said = [cleaner.feed(line) for line in text.splitlines(keepends=True)]
    return " ".join(filter(None, [*said, cleaner.finish()]))


READINGS = [
    # Operators, with and without spaces.
    ("计算 2 + 3 = 5。", "计算2加3等于5。"),
    ("计算2+3=5。", "计算2加3等于5。"),
    ("7 - 4 = 3，对吗？", "7减4等于3，对吗？"),
    ("结果是3×4=12。", "结果是3乘4等于12。"),
    ("结果是12÷4=3。", "结果是12除以4等于3。"),
    ("结果是3*4。", "结果是3乘4。"),
    ("x ≥ 5 的时候", "x大于等于5的时候"),
    ("如果x != y，", "如果x不等于y，"),
    ("如果a<b，", "如果a小于b，"),
    ("约为 ±5 度", "约为正负5度"),
    # Powers, roots, fractions.
    ("勾股定理是 a^2 + b^2 = c^2。", "勾股定理是a的平方加b的平方等于c的平方。"),
    ("x³的导数是3x²。", "x的立方的导数是3 x的平方。"),
    ("就是2^10=1024", "就是2的10次方等于1024"),
    ("就是 10^-3 米。", "就是10的负3次方米。"),
    ("√16 = 4，没错。", "根号16等于4，没错。"),
    ("占了 3/4 的时间", "占了4分之3的时间"),
    ("大约½杯水", "大约2分之1杯水"),
    ("大约1½杯水", "大约1又2分之1杯水"),
    (r"公式是 $\frac{a}{b}$。", "公式是b分之a。"),
    (r"公式是 $\frac{a+b}{2}$。", "公式是2分之a加b整体。"),
    (r"求 \(\sqrt[3]{27}\) 的值", "求27的立方根的值"),
    (r"$(a+b)^2$ 展开", "a加b整体的平方展开"),
    # Functions and Greek letters.
    ("sin(x)+cos(y) 的值", "sine x加cosine y的值"),
    ("α+β=π，", "alpha加beta等于派，"),
    ("圆周率π约为3.14。", "圆周率派约为3.14。"),
    ("log2(8) = 3，", "log以2为底8等于3，"),
    (r"$\sum_{i=1}^{n} i$ 是多少", "从i等于1到n求和i是多少"),
    (r"$\lim_{x \to 0} f(x)$ 存在", "当x趋于0时，极限f x存在"),
    (r"$|x| < 5$ 的解", "绝对值x小于5的解"),
    # Minus and hyphen.
    ("气温是-5度。", "气温是负5度。"),
    ("今天-5°C。", "今天负5摄氏度。"),
    ("等于 -3。", "等于负3。"),
    ("需要3-5天。", "需要3到5天。"),
    ("1990-1995年", "1990到1995年"),
    # Units, money, shares.
    ("它长3.5米。", "它长3.5米。"),
    ("它长 3.5 km。", "它长3.5公里。"),
    ("速度是60km/h。", "速度是60公里每小时。"),
    ("面积是20m²。", "面积是20平方米。"),
    ("面积是 20 km^2。", "面积是20平方公里。"),
    ("水温37℃。", "水温37摄氏度。"),
    ("涨了5.2%。", "涨了百分之5.2。"),
    ("涨了5%-10%。", "涨了百分之5到10。"),
    ("价格是$3.50。", "价格是3.50美元。"),
    ("价格是￥30。", "价格是30元。"),
    ("一天3次/人。", "一天3次每人。"),
    ("比分是3:2。", "比分是3比2。"),
    ("有~5个", "有约5个"),
]


@pytest.mark.parametrize(("written", "words"), READINGS)
def test_is_read_in_chinese(written, words):
    assert spoken(written) == words


@pytest.mark.parametrize(
    "text",
    [
        "他说：你好！然后走了。",
        "歼-20是一种飞机。",
        "会议在2024-05-01举行。",
        "电话是010-1234。",
        "男/女都可以。",
        "请看9/11事件。",
        "24/7服务。",
        "现在是10:30。",
        "版本3.5很好。",
        "他用Python写了100行。",
        "iPhone-15很贵。",
        "这是A4纸。",
    ],
)
def test_what_is_no_mathematics_stays(text):
    assert spoken(text) == text


def test_words_are_english_in_english_and_chinese_in_chinese():
    cleaner = SpokenText(every_script=True)
    assert cleaner.feed("先算2+2=4。\n") == "先算2加2等于4。"
    # Of no language: that of what came before.
    assert cleaner.feed("3+3=6\n") == "3加3等于6"
    assert cleaner.feed("Then do the sum 4+4=8.\n") == "Then do the sum 4 plus 4 equals 8."
    assert cleaner.feed("5+5=10\n") == "5 plus 5 equals 10"


def test_other_voices_are_not_given_chinese():
    assert SpokenText().feed("计算2+3=5。") == "2 plus 3 equals 5."


def test_code_is_left_out_with_a_remark():
    assert spoken("看代码：\n```\nx = 1\n```\n好了。") == f"看代码： {CODE_REMARK_CHINESE} 好了。"


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (r"\int_0^1 x^2 dx", "从0到1积分x的平方d x"),
        (r"\binom{n}{k}", "n选k"),
        (r"x_i", "x i"),
        (r"\vec{F} = m a", "向量F等于m a"),
        (r"-b \pm \sqrt{b^2-4}", "负b正负根号b的平方减4"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "矩阵，第1行1, 2;第2行3, 4"),
        (r"f'(x)", "f撇x"),
        ("", ""),
    ],
)
def test_formulas(formula, words):
    assert maths_words(formula, CHINESE) == words
