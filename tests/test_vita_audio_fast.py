"""Runs, guesses and fixed places make the same tokens as one step after the other."""

import threading

import pytest
import torch
from pretended_gpu import gpu_fixture  # noqa: F401  (a fixture)
from vita_golden import LM, lm_folders, load, runs

from engines.base import Cancel
from engines.native.sampling import Drawing, Sampler
from engines.native.steps import Steps
from engines.vita_audio import fast
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.fast import FastDecoding
from engines.vita_audio.generation import Generation
from engines.vita_audio.schedule import BALANCE, BOOST, TURBO, VANILLA, Schedule
from engines.vita_audio.seat import Seat

LIKELIEST = Drawing()
PENALIZED = Drawing(repetition_penalty=1.1)
FREELY = Drawing(temperature=0.9, top_k=20, top_p=0.9, repetition_penalty=1.05)

#: Most of the vocabulary, so that guesses are mostly right and sometimes wrong.
CODES = (25, 600)


@pytest.fixture(scope="module")
def model():
    return load(LM)


@pytest.fixture(scope="module")
def prompts():
    arrays = LM.arrays()
    return [arrays[f"input/prompt{i}/input_ids"].tolist() for i in range(3)]


@pytest.fixture
def counts(monkeypatch):
    """How often each part of the fast path was used."""
    seen = dict.fromkeys(("runs", "main", "guessed", "wrong", "fixed", "replayed"), 0)

    def watch(owner, name, note):
        plain = getattr(owner, name)

        def watched(*args):
            out = plain(*args)
            note(args, out)
            return out

        monkeypatch.setattr(owner, name, watched)

    def note_heads(args, out):
        guess = args[-1]
        seen["guessed"] += guess is not None
        seen["wrong"] += out.guessed.tolist() != out.tokens.tolist()

    def bump(name):
        def note(_args, _out):
            seen[name] += 1

        return note

    watch(FastDecoding, "_make_run", bump("runs"))
    watch(FastDecoding, "_make_main", bump("main"))
    watch(FastDecoding, "_run_heads", note_heads)
    watch(Seat, "run", bump("fixed"))
    return seen


class Replayed:
    """Stands in for a CUDA graph: runs what was captured again, on the same tensors."""

    def __init__(self, step, counts):
        self.step, self.counts = step, counts
        self.out = step()

    def replay(self):
        self.counts["replayed"] += 1
        for old, new in zip(tensors(self.out), tensors(self.step()), strict=True):
            old.copy_(new)


def tensors(out):
    if isinstance(out, fast._Run):
        return [*out.hidden, out.guessed, out.tokens]
    return list(out)


@pytest.fixture
def replaying(monkeypatch, counts):
    """Seats that capture, with graphs that a CPU can replay."""

    def capture(self, step):
        before = self.seen.clone(), self.ids.clone()
        graph = Replayed(step, counts)
        self.seen.copy_(before[0])
        self.ids.copy_(before[1])
        return graph, graph.out

    monkeypatch.setattr(Seat, "_capture", capture)


def plain(model, prompt, schedule, drawing, seed, count):
    sampler = Sampler(drawing, vocabulary=600, prompt=prompt, seed=seed)
    decoding = Decoding(model, prompt, schedule=schedule)
    with torch.inference_mode():
        for _ in range(count):
            decoding.append(int(sampler.draw(decoding.advance())))
    return decoding.ids[len(prompt) :]


def quick(model, prompt, schedule, drawing, seed, count, codes=None, seat=None):
    sampler = Sampler(drawing, vocabulary=600, prompt=prompt, seed=seed, device=model.device)
    tokens = []
    with torch.inference_mode():
        decoding = FastDecoding(
            model, prompt, sampler=sampler, schedule=schedule, codes=codes, seat=seat
        )
        while len(tokens) < count:
            tokens += decoding.step()
    assert tokens == decoding.ids[len(prompt) :]
    return tokens[:count]


@pytest.mark.parametrize("folder", lm_folders(), ids=str)
@pytest.mark.parametrize(
    ("rows", "codes"),
    [(0, CODES), (256, None), (256, CODES)],
    ids=["guessing", "fixed", "fixed and guessing"],
)
def test_the_reference_in_runs(folder, rows, codes, counts):
    model, arrays = load(folder), folder.arrays()
    seat = Seat(model, rows) if rows else None
    for prompt, mode, name in runs(folder):
        ids = arrays[f"input/{prompt}/input_ids"].tolist()
        wanted = arrays[f"output/{name}/new_token_ids"].tolist()[:60]
        made = quick(model, ids, Schedule(mode), LIKELIEST, None, len(wanted), codes, seat)
        assert made == wanted, name
    assert counts["runs"] > 15
    assert (counts["guessed"] > counts["wrong"] > 0) == (codes is not None)
    assert (counts["main"] > 50) == bool(rows)


@pytest.mark.parametrize(
    ("schedule", "drawing"),
    [
        (VANILLA, FREELY),
        (BALANCE, FREELY),
        (BOOST, PENALIZED),
        (TURBO, FREELY),
        (Schedule((1, 13)), LIKELIEST),
        (Schedule((1, 2, 2, 4)), FREELY),
    ],
    ids=str,
)
def test_every_way_makes_the_same_tokens(schedule, drawing, model, prompts, replaying, counts):
    seat = Seat(model, 256, captured=True)
    for seed, prompt in enumerate(prompts[:2]):
        wanted = plain(model, prompt, schedule, drawing, seed, 60)
        given = model, prompt, schedule, drawing, seed, 60
        assert quick(*given) == wanted
        assert quick(*given, codes=CODES) == wanted
        assert quick(*given, codes=(300, 600)) == wanted  # Mostly wrong.
        # The second reply on a seat replays what the first one captured.
        assert quick(*given, codes=CODES, seat=seat) == wanted
    assert counts["replayed"] > counts["fixed"] / 2


def test_a_wrong_guess_costs_no_noise(model, prompts, counts):
    wanted = plain(model, prompts[1], TURBO, FREELY, 3, 200)
    assert quick(model, prompts[1], TURBO, FREELY, 3, 200, codes=CODES) == wanted
    assert counts["wrong"] > 0


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing(repetition_penalty=1.5),
        # Without top-k and top-p, which leave out more among all ids than among some.
        Drawing(temperature=0.9, repetition_penalty=1.5),
    ],
    ids=str,
)
def test_guesses_are_wrong_only_where_a_token_is_no_code(drawing, model, prompts, monkeypatch):
    made, expected = [], []
    run_heads = FastDecoding._run_heads

    def noted(self, first, last, past, hidden, tokens, noise, guess):
        made.append((first, guess is not None))
        return run_heads(self, first, last, past, hidden, tokens, noise, guess)

    monkeypatch.setattr(FastDecoding, "_run_heads", noted)
    for codes in (CODES, (300, 600)):
        tokens = quick(model, prompts[1], TURBO, drawing, 5, 110, codes)
        speaking = True
        for start in range(1, 110, 11):
            others = [
                i
                for i, token in enumerate(tokens[start : start + 10])
                if not codes[0] <= token < codes[1]
            ]
            expected.append((0, speaking))
            # What comes after is made again, once, without guessing.
            if speaking and others and others[0] < 9:
                expected.append((others[0] + 1, False))
            speaking = not others
    assert made == expected
    assert {(0, True), (0, False)} < set(made)


def test_a_reply_that_outgrows_its_seat_goes_on(model, prompts, counts):
    wanted = plain(model, prompts[1], BOOST, PENALIZED, None, 120)
    seat = Seat(model, 96)
    assert quick(model, prompts[1], BOOST, PENALIZED, None, 120, CODES, seat) == wanted
    assert 0 < counts["fixed"] < counts["runs"] + 30
    short = plain(model, prompts[0], BOOST, PENALIZED, None, 60)
    assert quick(model, prompts[0], BOOST, PENALIZED, None, 60, CODES, seat) == short


def test_seats_are_as_many_as_replies_at_once_and_used_again(model, prompts):
    steps = Steps("language", capacity=3)
    language = Generation(model, steps, window=300, codes=CODES, seat=256)
    wanted = [plain(model, p, BOOST, LIKELIEST, None, 50) for p in prompts]
    for _ in range(2):
        replies = [
            language.generate(p, mode=BOOST, max_tokens=50, cancel=Cancel()) for p in prompts
        ]
        assert [list(tokens) for tokens in zip(*replies, strict=True)] == [
            list(tokens) for tokens in zip(*wanted, strict=True)
        ]
        assert len(language._seats) == 3
    stopped = language.generate(prompts[0], mode=BOOST, cancel=Cancel())
    next(stopped)
    assert len(language._seats) == 2
    stopped.close()
    assert len(language._seats) == 3
    steps.close()


def test_a_stop_inside_a_run_ends_the_reply_there(model, prompts):
    steps = Steps("language")
    wanted = plain(model, prompts[0], TURBO, LIKELIEST, None, 40)
    language = Generation(model, steps, codes=CODES)
    at = next(i for i in range(15, 22) if wanted[i] not in wanted[:i])
    reply = language.generate(prompts[0], mode=TURBO, stop=[wanted[at]], cancel=Cancel())
    assert list(reply) == wanted[: at + 1]
    steps.close()


@pytest.mark.parametrize(
    ("schedule", "drawing"),
    [(VANILLA, FREELY), (BALANCE, LIKELIEST), (BOOST, PENALIZED), (TURBO, FREELY)],
    ids=str,
)
def test_graphs_make_the_tokens_of_the_steps_they_hold(gpu, schedule, drawing, prompts):
    model = load(LM, device=gpu.device)
    uncaptured, seat = Seat(model, 256, captured=False), Seat(model, 256)
    for seed, prompt in enumerate(prompts[:2]):
        given = model, prompt, schedule, drawing, seed, 60, CODES
        wanted = quick(*given, uncaptured)
        assert quick(*given, seat) == wanted
        assert quick(*given, seat) == wanted  # Replayed from its first steps on.
    assert seat._graphs
    assert not uncaptured._graphs


def test_graphs_are_captured_by_several_threads(gpu, prompts):
    model = load(LM, device=gpu.device)
    given = model, prompts[0], BOOST, FREELY, 1, 40, CODES
    wanted = quick(*given, Seat(model, 256, captured=False))
    seats = [Seat(model, 256) for _ in range(3)]
    made = {}

    def reply(number):
        made[number] = [quick(*given, seats[number]) for _ in range(3)]

    threads = [threading.Thread(target=reply, args=(i,)) for i in range(len(seats))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {i: [wanted] * 3 for i in range(len(seats))}
    assert all(seat._graphs for seat in seats)
