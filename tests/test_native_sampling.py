"""Tokens are drawn as transformers draws them, from random numbers of the request's own."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engines.native.sampling import Drawing, Sampler, choose, penalize, warp
from errors import InputError

V = 600

DRAWINGS = [
    Drawing(temperature=1.0),
    Drawing(temperature=0.7),
    Drawing(temperature=1.0, top_k=50),
    Drawing(temperature=1.3, top_p=0.8),
    Drawing(temperature=1.0, top_k=10_000, top_p=0.01),
    Drawing(temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05),
    Drawing(temperature=1.0, repetition_penalty=0.8),
]


def processors(drawing):
    made = LogitsProcessorList()
    if drawing.repetition_penalty != 1:
        made.append(RepetitionPenaltyLogitsProcessor(drawing.repetition_penalty))
    if not drawing.greedy:
        if drawing.temperature != 1:
            made.append(TemperatureLogitsWarper(drawing.temperature))
        if drawing.top_k:
            made.append(TopKLogitsWarper(drawing.top_k))
        if drawing.top_p < 1:
            made.append(TopPLogitsWarper(drawing.top_p))
    return made


def logits(steps, seed):
    draws = torch.Generator().manual_seed(seed)
    # Rounded, so that there are ties at the edges of top-k and top-p.
    return (torch.randn(steps, V, generator=draws) * 3).round(decimals=1)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=str)
def test_scores_and_draws_are_those_of_transformers(drawing):
    prompt, seed = [3, 5, 5, 599], 11
    sampler = Sampler(drawing, vocabulary=V, prompt=prompt, seed=seed)
    theirs, draws = processors(drawing), torch.Generator().manual_seed(seed)
    said = torch.tensor([prompt])
    for row in logits(60, seed=2):
        scores = theirs(said, row[None].clone())
        ours = penalize(row, sampler.seen, drawing.repetition_penalty)
        torch.testing.assert_close(warp(ours, drawing), scores[0], rtol=0, atol=0)
        wanted = torch.multinomial(scores.softmax(-1), 1, generator=draws)
        token = sampler.draw(row)
        assert token.tolist() == wanted[0].tolist()
        said = torch.cat((said, token[None]), dim=1)


def test_the_likeliest_token_knows_the_penalty_too():
    drawing = Drawing(repetition_penalty=1.3)
    sampler = Sampler(drawing, vocabulary=V, prompt=[1])
    said, penalized = torch.tensor([[1]]), 0
    for row in logits(60, seed=5):
        wanted = processors(drawing)(said, row[None].clone()).argmax(-1)
        token = sampler.draw(row)
        assert token.tolist() == wanted.tolist()
        penalized += int(token) != int(row.argmax())
        said = torch.cat((said, token[None]), dim=1)
    assert penalized


def test_half_precision_is_drawn_from_in_single():
    row = torch.tensor([1.0, 1.0078125, -2.0]).bfloat16()
    assert int(Sampler(Drawing(repetition_penalty=1.0001), vocabulary=3, prompt=[1]).draw(row)) == 1


def test_several_codebooks_at_once():
    rows, exponential = logits(8, seed=3), torch.rand(8, V) + 0.01
    drawing = Drawing(temperature=0.9, top_k=30, top_p=0.95)
    together = choose(warp(rows, drawing), exponential)
    alone = [choose(warp(row, drawing), e) for row, e in zip(rows, exponential, strict=True)]
    assert together.tolist() == [int(token) for token in alone]


def test_random_numbers_are_the_requests_own():
    drawing, rows = Drawing(temperature=1.0), logits(30, seed=7)

    def reply(seed, disturbed=False):
        sampler = Sampler(drawing, vocabulary=V, seed=seed)
        for row in rows:
            if disturbed:
                torch.manual_seed(0)
                torch.rand(3)
            yield int(sampler.draw(row))

    assert list(reply(4)) == list(reply(4, disturbed=True))
    assert list(reply(4)) != list(reply(5))
    assert list(reply(None)) != list(reply(None))
    assert list(reply(-1)) == list(reply(2**63 - 2))


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"repetition_penalty": 0.0},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused(bad):
    (name,) = bad
    with pytest.raises(InputError, match=name):
        Drawing(**bad)


def test_tokens_that_decide_are_the_likeliest():
    """Without a random number, so that all later tokens are those of a sampler that began there."""
    logits = torch.tensor([1.0, 1.1, 1.0, 0.9])
    sure = Sampler(Drawing(temperature=2.0), vocabulary=4, seed=1, sure=2)
    plain = Sampler(Drawing(temperature=2.0), vocabulary=4, seed=1)
    assert [int(sure.draw(logits)) for _ in range(2)] == [1, 1]
    drawn = [[int(sampler.draw(logits)) for _ in range(30)] for sampler in (sure, plain)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1
