"""VITA-Audio's language model computes what the reference does, whatever the speed mode."""

import pytest
import torch
from codec_golden import close
from nocache import NoCache
from safetensors.torch import load_file
from vita_golden import LM, lm_folders, load, plus_folders, runs

from engines.base import Cancel
from engines.native.sampling import Drawing
from engines.native.steps import Steps
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.generation import Generation, WindowFullError
from engines.vita_audio.schedule import BOOST, MODES, NEVER, TURBO, VANILLA, Schedule
from errors import InputError


@pytest.fixture(scope="module")
def model():
    return load(LM)


@pytest.fixture(scope="module")
def prompt():
    return LM.arrays()["input/prompt0/input_ids"].tolist()


@pytest.fixture
def steps():
    made = Steps("language", capacity=4)
    yield made
    made.close()


def greedy(decoding, count, piece=10**6):
    """Tokens and the scores they were chosen from."""
    tokens, scores = [], []
    with torch.inference_mode():
        while decoding.unread > piece:
            decoding.read(piece)
        for _ in range(count):
            scores.append(decoding.advance())
            tokens.append(int(scores[-1].argmax()))
            decoding.append(tokens[-1])
    return tokens, torch.stack(scores)


@pytest.mark.parametrize("folder", lm_folders(), ids=str)
def test_ids_and_logits_are_those_of_the_reference(folder):
    model, arrays = load(folder), folder.arrays()
    for prompt, mode, name in runs(folder):
        ids = arrays[f"input/{prompt}/input_ids"].tolist()
        wanted = arrays[f"output/{name}/new_token_ids"].tolist()
        decoding = Decoding(model, ids, schedule=Schedule(mode))
        tokens, scores = greedy(decoding, len(wanted))
        assert tokens == wanted, name
        recorded = arrays.get(f"output/{name}/logits_first40")
        if recorded is not None:
            close(scores[: len(recorded)], recorded, folder.tolerance("logits"))


@pytest.mark.parametrize("folder", lm_folders(), ids=str)
def test_hidden_states_are_those_of_the_reference(folder, monkeypatch):
    model, arrays = load(folder), folder.arrays()
    prompts = sorted({name.split("/")[1] for name in arrays if name.startswith("prefill/")})
    assert prompts
    seen = []
    for kind in ("main", "head"):
        plain = getattr(model, kind)

        def watched(*args, plain=plain):
            seen.append(plain(*args))
            return seen[-1]

        monkeypatch.setattr(model, kind, watched)
    heads = model.config.heads
    for prompt in prompts:
        seen.clear()
        ids = arrays[f"input/{prompt}/input_ids"].tolist()
        decoding = Decoding(model, ids, schedule=Schedule((1, heads)))
        tokens, scores = greedy(decoding, heads + 1)
        assert tokens == arrays[f"prefill/{prompt}/token_ids"].tolist()
        tolerance = folder.tolerance("logits")
        close(scores, arrays[f"prefill/{prompt}/logits"], tolerance)
        for index, hidden in enumerate(seen):
            close(hidden[0], arrays[f"prefill/{prompt}/hidden_{index:02}"], tolerance)


@pytest.mark.parametrize("folder", lm_folders(), ids=str)
def test_a_reply_ends_inside_a_run_of_the_heads(folder, steps):
    arrays, eos = folder.arrays(), folder.meta["eos"]
    reply = Generation(load(folder), steps).generate(
        arrays[f"input/{eos['prompt']}/input_ids"].tolist(),
        mode=Schedule(tuple(folder.meta["modes"][eos["mode"]])),
        stop=[eos["eos_token_id"]],
        cancel=Cancel(),
    )
    wanted = arrays["eos/new_token_ids"].tolist()
    assert list(reply) == wanted
    assert len(wanted) == eos["stops_after_n_tokens"]


@pytest.mark.parametrize("folder", lm_folders(), ids=str)
def test_the_repetition_penalty_is_that_of_the_reference(folder, steps):
    arrays, case = folder.arrays(), folder.meta["repetition_penalty"]
    wanted = arrays["repetition_penalty/new_token_ids"].tolist()
    reply = Generation(load(folder), steps).generate(
        arrays[f"input/{case['prompt']}/input_ids"].tolist(),
        mode=MODES[case["mode"].split()[0]],
        drawing=Drawing(repetition_penalty=case["repetition_penalty"]),
        max_tokens=len(wanted),
        cancel=Cancel(),
    )
    assert list(reply) == wanted


@pytest.mark.parametrize("folder", plus_folders(), ids=str)
def test_heard_embeddings_reach_the_main_model_and_not_the_heads(folder):
    model, arrays = load(folder), folder.arrays()
    for name in folder.meta["runs"]:
        case, mode = name.split("/")
        wanted = arrays[f"{name}/new_token_ids"].tolist()
        decoding = Decoding(
            model,
            arrays[f"{case}/input_ids"].tolist(),
            embeddings=arrays[f"{case}/prefill_inputs_embeds"],
            schedule=Schedule(tuple(folder.meta["modes"][mode])),
        )
        tokens, scores = greedy(decoding, len(wanted))
        assert tokens == wanted, name
        recorded = arrays[f"{name}/logits_first40"]
        close(scores[: len(recorded)], recorded, folder.tolerance("logits"))


def parts(mode, count, heads):
    """Which head makes each token (None: the main model), token by token from the definition."""
    mains, runs = mode[0::2], mode[1::2]
    slots, i = "", 0
    while len(slots) < count:
        slots += "M" * mains[min(i, len(mains) - 1)] + "m" * runs[min(i, len(runs) - 1)]
        i += 1
    made, before = [], None
    for slot in slots[:count]:
        head = (0 if before is None else before + 1) if slot == "m" else None
        before = None if head == heads else head
        made.append(before)
    return made


LISTS = [
    (1, 0),
    (1, 1),
    (3, 2),
    (1, 13),  # Longer than there are heads.
    (2, 25, 1, 3),
    (1, 2, 3, 5, 1, 7),
    (1, 3, 2),  # Head counts repeat by themselves.
    (1, 4, 0, 3),  # Nothing but heads from the second round on.
    (1, 2, 0, 2, 1, 4),
    (4, 0, 2, 10),
]


@pytest.mark.parametrize("mode", LISTS, ids=str)
def test_any_list_computes_what_it_says(mode, model, prompt):
    made = parts(mode, 40, model.config.heads)
    tokens, _ = greedy(Decoding(model, prompt, schedule=Schedule(mode)), 40)
    reference = NoCache(load_file(LM.checkpoint / "model.safetensors"), model.config)
    assert tokens == reference.greedy(prompt, made)


def test_the_recorded_schedules_are_ours():
    for _, mode, name in runs(LM):
        schedule = Schedule(mode)
        recorded = LM.meta["runs"][name]["schedule"]
        ours = "".join("m" if schedule.run(slot) else "M" for slot in range(len(recorded)))
        assert ours == recorded
    assert [BOOST.run(slot) for slot in (0, 1, 2, 10, 11, 14, 15)] == [0, 10, 9, 1, 0, 0, 10]
    assert Schedule((1, 4, 0, 3)).run(2) == NEVER


@pytest.mark.parametrize("mode", [(), (1,), (0, 5), (-1, 3), (1, 4, 0, 0), (1, -2)], ids=str)
def test_a_list_that_is_no_mode_is_refused(mode):
    with pytest.raises(InputError, match="speed mode"):
        Schedule(mode)


def test_a_long_prompt_is_read_in_pieces(model):
    ids = LM.arrays()["input/prompt2/input_ids"].tolist()
    whole, scores = greedy(Decoding(model, ids, schedule=BOOST), 40)
    pieces, near = greedy(Decoding(model, ids, schedule=BOOST), 40, piece=16)
    assert pieces == whole
    close(near, scores, LM.tolerance("logits"))


def test_vanilla_keeps_nothing_for_heads(model, prompt):
    slow, fast = (Decoding(model, prompt, schedule=mode) for mode in (VANILLA, TURBO))
    for decoding in (slow, fast):
        greedy(decoding, 30)
    assert slow.nbytes < fast.nbytes / 2
    assert not any(slow._outputs)


def test_the_window_bounds_a_conversation(model, prompt, steps):
    language = Generation(model, steps, window=20)
    alone = list(
        Generation(model, steps).generate(prompt, mode=BOOST, max_tokens=30, cancel=Cancel())
    )
    got = []
    with pytest.raises(WindowFullError, match="stopped at 20 tokens"):
        for token in language.generate(prompt, mode=BOOST, cancel=Cancel()):
            got.append(token)
    assert got == alone[: 20 - len(prompt)]
    fits = language.generate(prompt, mode=BOOST, max_tokens=20 - len(prompt), cancel=Cancel())
    assert list(fits) == got
    with pytest.raises(InputError, match="20 tokens long with what was said last, but only 20"):
        next(language.generate([1] * 20, cancel=Cancel()))
    with pytest.raises(InputError, match="40000 tokens is more than the model's 32768"):
        Generation(model, steps, window=40_000)


@pytest.mark.parametrize("ids", [[], [-1], [600]], ids=str)
def test_ids_outside_the_vocabulary_are_refused(model, ids):
    with pytest.raises(InputError, match="from 0 to 599"):
        Decoding(model, ids)


def test_embeddings_of_another_length_are_refused(model, prompt):
    with pytest.raises(InputError, match=r"\[3, 64\], not \[7, 64\]"):
        Decoding(model, prompt, embeddings=torch.zeros(3, 64))
