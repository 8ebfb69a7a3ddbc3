"""Pictures and videos in the chat tab: what is sent, what is kept, what is said."""

import time

import browser
import gradio as gr
import pytest
from playwright.sync_api import sync_playwright
from seeing_engine import ENTRIES, picture
from sight_files import evenly, write_video

from demos.answers import Answers
from demos.panel import Options
from demos.shelf import Shelf, Thing, drawn, in_dialogue
from demos.showing import OUTPUTS, Showing
from demos.thread import Ask, Thread
from engines.catalog import CATALOG
from engines.images import Image
from engines.messages import Message
from services import Services
from settings import Settings
from sight_desk import MOST_PICTURES

SKIP = gr.skip()


@pytest.fixture(scope="module")
def seeing():
    settings = Settings(_env_file=None, warm=False, idle_unload=0)
    with Services(settings, [CATALOG[0], *ENTRIES]) as services:
        yield services


class Request:
    session_hash = "mine"
    username = None


@pytest.fixture
def showing(seeing):
    return Showing(seeing, set())


@pytest.fixture
def files(tmp_path):
    """A red picture, a blue one, and a video of 4.5 s."""
    paths = []
    for colour in ("red", "blue"):
        paths.append(tmp_path / f"{colour}.png")
        paths[-1].write_bytes(picture(colour, kind="PNG"))
    paths.append(write_video(str(tmp_path / "walk.mp4"), evenly(45)))
    return [str(path) for path in paths]


def last(updates):
    *_, last = updates
    return last


def add(showing, paths, shelf=Shelf(), most=8, engine="seer"):
    return last(showing.add(paths, shelf, most, engine, Request()))


def options(**more):
    chosen = {
        "engine": "seer",
        "voice": None,
        "language": "en",
        "temperature": 0,
        "max_tokens": 200,
        "seed": "",
        "history": 20,
        "system": "",
        "skips_vision": True,
    } | more
    return Options(**chosen)


def ask(services, thread, text="", shelf=Shelf(), **more):
    """The thread after a question."""
    views = Answers(services).answer("text", Ask(None, text, shelf), thread, options(**more), "s")
    return last(views).thread


def said(thread):
    return thread.conversation.messages[-1].text


def shown(thread):
    return "".join(m["content"] for m in thread.messages if isinstance(m["content"], str))


# --- the shelf -------------------------------------------------------------------------------


def test_pictures_and_a_video_lie_on_the_shelf(showing, files):
    shelf, html, film, begin, end = add(showing, files)
    assert [thing.name for thing in shelf.things] == ["red.png", "blue.png", "walk.mp4"]
    assert len(shelf.images) == 2 and len(shelf.frames) == 5
    assert film.visible and (begin, end) == ("", "")
    for words in ("red.png", "0:00", "0:04", "5 frames of 0:04", 'aria-label="Remove walk.mp4"'):
        assert words in html
    assert html.count("<img") == 7


def test_another_part_of_it_and_another_number(showing, files):
    shelf, *_ = add(showing, files[2:])
    (again,) = list(showing.pick(shelf, "", "", 8, "seer", Request()))
    assert again[0] is shelf, "nothing was changed, so nothing is read"
    shelf, html, *_ = last(showing.pick(shelf, "0:01", "3.5", 2, "seer", Request()))
    assert shelf.film.moments == (1.0, 3.0)
    assert "0:01" in html and "0:03" in html and "0:02" not in html
    kept, html, *_ = last(showing.pick(shelf, "soon", "", 2, "seer", Request()))
    assert kept.film is shelf.film and "is no time" in html
    kept, html, *_ = last(showing.pick(shelf, "9", "", 2, "seer", Request()))
    assert kept.film is shelf.film and "The video is over after 0:04" in html


def test_progress_is_told_and_it_can_be_stopped(showing, files):
    steps = showing.add(files, Shelf(), 8, "seer", Request())
    first = next(steps)
    assert "0 of 5 frames" in first[1] and "Stop reading" in first[1]
    assert "Remove" not in first[1] and "red.png" in first[1]
    event = gr.EventData(None, {"action": "stop", "key": ""})
    assert showing.act(event, Shelf(), "seer", Request()) == (SKIP,) * OUTPUTS
    shelf, html, *_ = last(steps)
    assert shelf.film is None or "Stopped" not in html
    assert len(shelf.images) == 2, "the pictures are kept"


def test_taken_away_again(showing, files):
    shelf, *_ = add(showing, files)
    for thing in shelf.things[1:]:
        event = gr.EventData(None, {"action": "remove", "key": thing.key})
        shelf, html, film, *_ = showing.act(event, shelf, "seer", Request())
    assert [thing.name for thing in shelf.things] == ["red.png"]
    assert not film.visible and "blue.png" not in html


def test_more_pictures_than_may_be(showing, tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(picture("red", kind="PNG"))
    shelf, html, *_ = add(showing, [str(path)] * 256)
    assert len(shelf.images) == MOST_PICTURES
    assert "At most 16 pictures go with one message: 240 of yours stayed out." in html
    shelf, html, *_ = add(showing, [str(path)], shelf)
    assert len(shelf.images) == MOST_PICTURES and "1 of yours stayed out" in html


def test_what_cannot_be_used_is_told_and_the_rest_is_kept(showing, files, tmp_path):
    broken = tmp_path / "broken<b>.mp4"
    broken.write_bytes(b"hello")
    text = tmp_path / "text.png"
    text.write_bytes(b"hello")
    shelf, *_ = add(showing, files)
    kept, html, *_ = add(showing, [str(text), files[0], str(broken)], shelf)
    assert [thing.name for thing in kept.things[:-1]] == [thing.name for thing in shelf.things]
    assert "text.png is no picture that I can read" in html
    assert "This is no video that I can read" in html and "<b>" not in html


def test_two_videos(showing, files):
    shelf, html, *_ = add(showing, files[2:] * 2)
    assert len(shelf.things) == 1 and "One video goes with a message" in html
    shelf, html, *_ = add(showing, files[2:], shelf)
    assert len(shelf.things) == 1, "the new one takes the place of the old one"


def test_notes_are_told_as_long_as_it_lies_there(showing, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(picture("red", 3000, 300, "PNG"))
    shelf, html, *_ = add(showing, [str(path)])
    assert "large.png: It was scaled from 3000 x 300" in html
    assert "It was scaled" in showing.draw(shelf, "seer")


def test_those_who_cannot_see_say_so_while_it_lies_there(showing, files):
    shelf, html, *_ = add(showing, files[:1], engine="embedded")
    assert "Embedded (CPU) cannot see." in html
    assert "cannot see" not in showing.draw(shelf, "seer")
    assert "Mole cannot see." in showing.draw(shelf, "mole")
    assert showing.draw(Shelf(), "mole") == ""


def test_names_of_files_are_text(showing, tmp_path):
    path = tmp_path / "{x}&<img src=x>.png"
    path.write_bytes(picture("red", kind="PNG"))
    shelf, html, *_ = add(showing, [str(path)])
    assert html.count("<img") == 1 and "{x}" not in html
    assert in_dialogue(shelf.things).count("<img") == 1
    assert "&lt;b&gt;" in drawn(shelf, ["<b>"])


# --- what is sent ----------------------------------------------------------------------------


def test_what_was_shown_is_seen_and_not_again(seeing, showing, files):
    shelf, *_ = add(showing, files[:2])
    thread = ask(seeing, Thread(), "What is it?", shelf)
    assert said(thread).startswith("Seer: I see 2: 64 x 48 red, 64 x 48 blue. 0 messages.")
    assert shown(thread).count("<img") == 2
    thread = ask(seeing, thread, "And now?")
    assert said(thread).startswith("Seer: I see 0: nothing. 2 messages.")
    thread = ask(seeing, thread, "And before?", skips_vision=False)
    assert "Before: 64 x 48 red, 64 x 48 blue." in said(thread)
    thread = ask(seeing, thread, "And before?", history=0, skips_vision=False)
    assert "Before" not in said(thread), "the limit of the history holds for pictures as well"


def test_a_picture_needs_no_words(seeing, showing, files):
    shelf, *_ = add(showing, files[:1])
    thread = ask(seeing, Thread(), "", shelf)
    assert said(thread).startswith("Seer: I see 1: 64 x 48 red.")
    assert thread.conversation.messages[0].unseen().text == "(an image)"


def test_frames_of_a_video_come_after_the_pictures(seeing, showing, files):
    shelf, *_ = add(showing, [files[2], files[0]], most=2)
    thread = ask(seeing, Thread(), "What is it?", shelf)
    assert said(thread).startswith("Seer: I see 3: 64 x 48 red, 160 x 96")
    question = thread.conversation.messages[0]
    assert len(question.images) == 1 and len(question.frames) == 2


def test_a_refused_question_is_kept_for_another_try(seeing, showing, files):
    shelf, *_ = add(showing, files[:1])
    thread = ask(seeing, Thread(), "What is it?", shelf, engine="mole")
    assert "Mole cannot see." in shown(thread) and "What is it?" in shown(thread)
    assert thread.conversation.messages == ()
    again = ask(seeing, thread.before, thread.last.text, thread.last.shelf)
    assert said(again).startswith("Seer: I see 1")


def test_a_blind_engine_goes_on_with_a_dialogue_in_which_something_was_shown(
    seeing, showing, files
):
    shelf, *_ = add(showing, files[:1])
    thread = ask(seeing, Thread(), "What is it?", shelf)
    thread = ask(seeing, thread, "And now?", engine="mole", skips_vision=False)
    assert said(thread).startswith("Mole: I see 0: nothing. 2 messages.")


def test_a_dialogue_keeps_a_bounded_size_of_pictures(seeing):
    big = Image(picture("red") + bytes(9_900_000))
    shelf = Shelf((Thing("big", (big,), ("thumb",)),))
    thread = Thread()
    for _ in range(4):
        thread = ask(seeing, thread, "What is it?", shelf)
    kept = [len(message.images) for message in thread.conversation.messages[::2]]
    assert kept == [0, 1, 1, 1]
    assert isinstance(thread.conversation.messages[0], Message)


# --- in a browser ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium():
    browser.need_chromium()
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, "/dev/null")
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(chromium, seeing_url):
    visitors = []

    def open_page(**options):
        visitors.append(browser.Visitor(chromium, seeing_url, **options))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        complaints = visitor.complaints
        visitor.close()
        assert not complaints, "the browser's console shows errors"


def give(visitor, paths):
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.focus("#add-seen")
        visitor.page.keyboard.press("Enter")
    chooser.value.set_files(paths)


def choose_seer(visitor):
    """It is chosen once it is loaded."""
    browser.choose_engine(visitor.page, "Seer")
    chosen = lambda: visitor.page.inner_text(".engine-chosen") == "Seer"  # noqa: E731
    visitor.wait_for(chosen, seconds=240, what="the Seer's models")


def thumbs(visitor, place="#seen"):
    return visitor.page.evaluate(
        f"[...document.querySelectorAll('{place} img')]"
        ".filter(({ complete, naturalWidth }) => complete && naturalWidth > 0).length"
    )


@pytest.mark.browser
def test_nothing_is_lost_where_nobody_sees_and_then_it_is_seen(open_page, files):
    visitor = open_page()
    give(visitor, files[:2])
    visitor.wait_for(lambda: thumbs(visitor) == 2, what="the pictures")
    assert "Embedded (CPU) cannot see." in visitor.page.inner_text("#seen")
    visitor.ask("What is it?")
    visitor.wait_for(
        lambda: "Nothing was sent" in visitor.page.inner_text("body"), what="the warning"
    )
    assert visitor.page.input_value("#text textarea") == "What is it?"
    assert thumbs(visitor) == 2 and visitor.page.is_enabled("#send")
    choose_seer(visitor)
    visitor.wait_for(lambda: "cannot see" not in visitor.page.inner_text("#seen"), what="the Seer")
    visitor.page.focus("#seen [aria-label='Remove red.png']")
    visitor.page.keyboard.press("Enter")
    visitor.wait_for(lambda: thumbs(visitor) == 1, what="the picture to go")
    visitor.page.press("#text textarea", "Enter")
    visitor.wait_for(lambda: "I see 1: 64 x 48 blue" in visitor.dialogue(), what="the answer")
    visitor.wait_until_idle()
    assert visitor.page.input_value("#text textarea") == "" and thumbs(visitor) == 0
    visitor.wait_for(
        lambda: thumbs(visitor, "#chat .user") == 1, what="the picture in the dialogue"
    )


@pytest.mark.browser
@pytest.mark.parametrize(
    ("size", "dark"), [((1200, 900), False), ((1200, 900), True), ((390, 844), False)]
)
def test_a_video_as_frames_with_their_times(open_page, files, size, dark):
    visitor = open_page(size=size, dark=dark)
    choose_seer(visitor)
    visitor.choose("Text")
    give(visitor, [files[0], files[2]])
    visitor.wait_for(lambda: thumbs(visitor) == 6, what="the frames")
    assert "0:04" in visitor.page.inner_text("#seen")
    visitor.page.fill("#film-begin input, #film-begin textarea", "0:01")
    visitor.page.press("#film-begin input, #film-begin textarea", "Enter")
    visitor.wait_for(lambda: "0:00" not in visitor.page.inner_text("#seen figcaption"), what="it")
    visitor.wait_for(lambda: thumbs(visitor) == 5, what="the part")
    visitor.page.fill("#text textarea", "What is it?")
    name = f"chat-seeing-{size[0]}{'-dark' if dark else ''}"
    visitor.shoot(f"{name}-composer")
    width = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0], "the page is wider than the screen"
    visitor.page.press("#text textarea", "Enter")
    visitor.wait_for(
        lambda: "I see 5: 64 x 48 red, 160 x 96" in visitor.dialogue(), what="the answer"
    )
    visitor.wait_until_idle()
    visitor.wait_for(lambda: thumbs(visitor, "#chat .user") == 5, what="what was shown")
    assert not visitor.page.is_visible("#film")
    time.sleep(0.3)
    visitor.shoot(name)
