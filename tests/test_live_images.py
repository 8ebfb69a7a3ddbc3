"""Images of a conversation: from `input_image` over the WebSocket to the engine's pixels."""

import asyncio
import base64

import pytest
from openai.types.realtime import RealtimeConversationItemUserMessage
from seeing_engine import MOLE, SEER, picture

from bench.caller import call
from engines.images import Image
from live import items
from live.items import MOST_IMAGES, Item, Items
from live.protocol import ProtocolError, read_image


def base64_of(data):
    return base64.b64encode(data).decode()


def part(colour, kind="jpeg", **options):
    data = base64_of(picture(colour, kind=kind.upper(), **options))
    return {"type": "input_image", "image_url": f"data:image/{kind};base64,{data}"}


def text(words):
    return {"type": "input_text", "text": words}


def message(*content, **fields):
    return {"type": "message", "role": "user", "content": list(content), **fields}


def created(*content, engine=SEER):
    given = RealtimeConversationItemUserMessage.model_validate(message(*content))
    return Item.created(given, engine)


def image(colour="red"):
    return Image(picture(colour))


def user(words="", *images):
    return Item("user", words, images=images)


# --- read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("head", ["data:image/{};base64,", "DATA:image/{};base64,", ""])
def test_reads_data_urls_and_plain_base64(kind, head):
    data = picture("red", kind=kind.upper())
    seen = read_image(head.format(kind) + base64_of(data), "image")
    assert (seen.data, seen.kind) == (data, kind)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/cat.jpg", "Nothing is fetched"),
        ("HTTPS://example.org/cat.jpg", "Nothing is fetched"),
        ("data:image/webp;base64,AAAA", "image/webp"),
        ("data:image/jpeg,AAAA", "begins with"),
        ("data:image/jpeg;base64,###", "no base64"),
        ("data:image/jpeg;base64,ä", "no base64"),
        ("data:image/jpeg;base64,AAAA", "no JPEG or PNG"),
        ("data:image/jpeg;base64,", "no JPEG or PNG"),
        ("", "no JPEG or PNG"),
        ("file:///etc/passwd", "no base64"),
    ],
)
def test_what_is_no_image_is_refused_by_name(url, says):
    with pytest.raises(ProtocolError, match=says) as error:
        created(text("Look."), {"type": "input_image", "image_url": url})
    assert error.value.param == "item.content.1.image_url"
    assert error.value.code == "invalid_image"
    assert len(str(error.value)) < 200


def test_a_limit_is_met_before_anything_is_decoded():
    with pytest.raises(ProtocolError, match="the limit is 1,000") as error:
        read_image("A" * 2000, "image", 1000)
    assert error.value.code == "image_too_big"
    data = picture("red")
    assert read_image(base64_of(data), "image", len(data)).data == data


def test_an_item_has_a_bounded_number():
    assert len(created(*[part("red")] * MOST_IMAGES).images) == MOST_IMAGES
    with pytest.raises(ProtocolError, match="at most"):
        created(*[part("red")] * (MOST_IMAGES + 1))


def test_the_blind_refuse_before_reading():
    with pytest.raises(ProtocolError, match="Mole cannot see") as error:
        created({"type": "input_image", "image_url": "nonsense"}, engine=MOLE)
    assert error.value.code == "cannot_see"


# --- kept ------------------------------------------------------------------------------------


def kept(*said):
    all_items = Items()
    for item in said:
        all_items.add(item)
    return all_items


def unanswered(all_items, until=None):
    images, frames = all_items.unanswered(until)
    return images + frames


def test_images_belong_to_the_next_question():
    red, blue, green = image("red"), image("blue"), image("green")
    question = user("What do you see?", green)
    all_items = kept(user("Look.", red), user("", blue), question)
    assert unanswered(all_items, question) == (red, blue, green)
    assert unanswered(all_items) == (red, blue, green)
    (before,) = all_items.conversation("", 20, before=question, images=True).messages
    assert (before.text, before.images) == ("Look.", ()), "they are shown once, with the question"
    all_items.add(Item("assistant", "Colours."))
    assert unanswered(all_items) == ()


def test_an_answer_nobody_heard_is_none():
    red = image()
    all_items = kept(user("Look.", red), Item("assistant", "", status="incomplete"))
    assert unanswered(all_items) == (red,)


@pytest.mark.parametrize("images", [True, False])
def test_history_with_and_without_images(images):
    red, blue = image("red"), image("blue")
    all_items = kept(
        user("Look.", red), Item("assistant", "Red."), user("", blue), Item("assistant", "Blue.")
    )
    messages = all_items.conversation("", 20, images=images).messages
    shown = [(m.text, m.images) for m in messages]
    first, second = (("Look.", (red,)), ("", (blue,)))
    if not images:
        # Who answered twice without a question would confuse the model.
        first, second = (("Look.", ()), ("(an image)", ()))
    assert shown == [first, ("Red.", ()), second, ("Blue.", ())]


def test_the_oldest_images_are_forgotten(monkeypatch):
    pictures = [image() for _ in range(MOST_IMAGES + 2)]
    all_items = kept(
        user("Two.", *pictures[:2]), user("One.", pictures[2]), user("The rest.", *pictures[3:])
    )
    assert unanswered(all_items) == tuple(pictures[2:])
    assert all_items.have_images()
    monkeypatch.setattr(items, "MOST_IMAGE_BYTES", 2 * len(pictures[0]))
    last = user("More.")
    all_items.add(last)
    assert unanswered(all_items) == tuple(pictures[-2:])
    new = image("blue")
    all_items.show(last, (new,))
    assert unanswered(all_items) == (pictures[-1], new)
    assert all_items.unanswered() == ((pictures[-1],), (new,)), "what the camera saw is told apart"


def test_events_name_images_and_do_not_repeat_them():
    content = created(text("Look."), part("red"), part("blue")).as_event()["content"]
    assert content == [text("Look."), {"type": "input_image"}, {"type": "input_image"}]
    assert created(part("red")).as_event()["content"] == [{"type": "input_image"}]


# --- over the line ---------------------------------------------------------------------------


async def see(caller, **session):
    session = {"type": "realtime", "model": "seer", "output_modalities": ["text"]} | session
    await caller.send(type="session.update", session=session)
    await caller.wait("session.updated", len(caller.of("session.updated")) + 1)


async def show(caller, *content):
    count = len(caller.of("conversation.item.added"))
    await caller.send(type="conversation.item.create", item=message(*content))
    return (await caller.wait("conversation.item.added", count + 1)).item


async def answer(caller):
    count = len(caller.of("response.done"))
    await caller.send(type="response.create")
    done = (await caller.wait("response.done", count + 1)).response
    assert done.status == "completed", caller.of("error")
    part = done.output[0].content[0]
    return part.text or part.transcript


def test_an_image_reaches_the_engine(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await see(caller)
            item = await show(
                caller, text("What is this?"), part("red"), part("blue", "png", width=20)
            )
            return item, await answer(caller)

    item, said = asyncio.run(converse())
    assert said == "Seer: I see 2: 64 x 48 red, 20 x 48 blue. 0 messages."
    assert [part.type for part in item.content] == ["input_text", "input_image", "input_image"]
    assert item.content[1].image_url is None


def test_the_answer_may_be_spoken(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await see(caller, output_modalities=["audio"])
            await show(caller, part("yellow"))
            return await answer(caller), caller.sound

    said, sound = asyncio.run(converse())
    assert said == "Seer: I see 1: 64 x 48 yellow. 0 messages."
    assert sum(map(len, sound)) > 24_000


def test_an_image_first_then_a_spoken_question(seeing_url, question):
    async def converse():
        async with call(seeing_url) as caller:
            await see(caller)
            await show(caller, part("green"))
            caller.say(question)
            done = await caller.wait("response.done")
            return done.response.output[0].content[0].text

    assert asyncio.run(converse()) == "Seer: I see 1: 64 x 48 green. 0 messages."


def test_earlier_images_are_shown_if_that_is_set(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await see(caller)
            await show(caller, text("What is this?"), part("red"))
            answers = [await answer(caller)]
            for wanted in (False, True, False):
                await caller.send(type="parley.configure", images_in_history=wanted)
                await show(caller, text("And before?"))
                answers.append(await answer(caller))
            return answers

    first, without, with_images, without_again = asyncio.run(converse())
    assert first == "Seer: I see 1: 64 x 48 red. 0 messages."
    assert without == "Seer: I see 0: nothing. 2 messages."
    assert with_images == "Seer: I see 0: nothing. Before: 64 x 48 red. 4 messages."
    assert without_again == "Seer: I see 0: nothing. 6 messages."


def test_an_image_that_is_deleted_is_gone(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await see(caller)
            item = await show(caller, part("red"))
            await caller.send(type="conversation.item.delete", item_id=item.id)
            await show(caller, text("What is this?"))
            return await answer(caller)

    assert asyncio.run(converse()) == "Seer: I see 0: nothing. 0 messages."


def test_those_who_cannot_see_say_so(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            at_first = await caller.refused(
                type="conversation.item.create", item=message(text("?"), part("red"))
            )
            await see(caller)
            await show(caller, part("red"))
            await caller.send(type="parley.configure", images_in_history=True)
            await see(caller, model="mole")
            switched = await caller.wait("error", 2)
            # Nothing is left to answer: there is only the image.
            alone = await caller.refused(type="response.create")
            await show(caller, text("What did I show you?"))
            said = await answer(caller)
            await show(caller, text("And before that?"))
            assert await answer(caller) == "Mole: I see 0: nothing. 3 messages."
            await see(caller)
            await show(caller, text("And now?"))
            return at_first, switched.error, alone, said, await answer(caller)

    at_first, switched, alone, said, seen = asyncio.run(converse())
    assert (at_first.code, switched.code, alone.code) == ("cannot_see",) * 3
    assert at_first.message.startswith("Embedded (CPU) cannot see.")
    assert switched.message == alone.message
    assert switched.message.startswith("Mole cannot see.")
    assert said == "Mole: I see 0: nothing. 0 messages."
    assert seen == "Seer: I see 0: nothing. Before: 64 x 48 red. 5 messages."


def test_a_broken_image_is_told_and_the_line_stays_open(seeing_url):
    async def converse():
        async with call(seeing_url, talking=False) as caller:
            await see(caller)
            whole = base64_of(picture("red"))
            half = {"type": "input_image", "image_url": whole[: len(whole) // 8 * 4]}
            error = await caller.refused(type="conversation.item.create", item=message(half))
            await show(caller, part("red"))
            return error, await answer(caller)

    error, said = asyncio.run(converse())
    assert (error.code, error.param) == ("invalid_image", "item.content.0.image_url")
    assert said == "Seer: I see 1: 64 x 48 red. 0 messages."
