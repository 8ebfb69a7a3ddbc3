"""The delay pattern: what comes out of any stream, whole, cut or garbled."""

import numpy as np
import pytest
import torch
from higgs_checkpoint import folders, published_processor
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.higgs.delay import Codebooks, Undelay, delayed

BOOKS = Codebooks(count=8, begin=1024, end=1025)


def pushed(columns, books=BOOKS):
    undelay = Undelay(books)
    return [frame for column in columns if (frame := undelay.push(column)) is not None]


def one_shot(columns, books=BOOKS):
    """Every diagonal that is there and holds sound alone, found without streaming."""
    count = len(columns) - books.count + 1
    frames = [
        [int(columns[start + book][book]) for book in range(books.count)]
        for start in range(max(0, count))
    ]
    return [frame for frame in frames if all(code < 1024 for code in frame)]


@st.composite
def streams(draw):
    """Columns as a model may give them: frames in their pattern, garbled here and there, cut."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    frames = random.integers(0, 1024, (draw(st.integers(0, 40)), 8))
    columns = delayed(frames, BOOKS)
    if draw(st.booleans()):  # The last codebook is free at the end, and a column more may come.
        columns = np.concatenate([columns, np.full((1, 8), 1025)])
        columns[-2, 7] = random.integers(0, 1026)
    for _ in range(draw(st.integers(0, 6))):
        columns[random.integers(len(columns)), random.integers(8)] = random.integers(0, 1026)
    return columns[: draw(st.integers(0, len(columns)))]


@settings(deadline=None, max_examples=300)
@given(streams())
def test_a_stream_gives_what_one_look_at_all_of_it_gives(columns):
    frames = pushed(columns)
    assert [frame.tolist() for frame in frames] == one_shot(columns)
    assert all(0 <= code < 1024 for frame in frames for code in frame)


@settings(deadline=None, max_examples=100)
@given(streams(), st.integers(0, 60))
def test_a_cut_stream_gives_the_beginning_of_the_whole_one(columns, at):
    whole, cut = pushed(columns), pushed(columns[:at])
    assert [frame.tolist() for frame in cut] == [frame.tolist() for frame in whole[: len(cut)]]
    # Nothing is held back: what is complete has come out.
    assert len(cut) == len(one_shot(columns[:at]))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_there_and_back(count, length, seed):
    books = Codebooks(count, 50, 51)
    frames = np.random.default_rng(seed).integers(0, 50, (length, count))
    columns = delayed(frames, books)
    assert columns.shape == (length + count + 1, count)
    assert np.array_equal(np.array(pushed(columns, books)).reshape(-1, count), frames)


def test_a_frame_is_given_with_the_column_that_completes_it():
    frames = np.random.default_rng(0).integers(0, 1024, (5, 8))
    undelay = Undelay(BOOKS)
    given_at = [
        step
        for step, column in enumerate(delayed(frames, BOOKS))
        if undelay.push(column) is not None
    ]
    # After s columns, frames up to s - 9 are there; the first is complete with the ninth.
    assert given_at == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("last", [0, 1023, 1024, 1025])
def test_the_end_gives_no_frame_too_many(last):
    """The last codebook's code is free in the column before the last: transformers plays it."""
    frames = np.random.default_rng(1).integers(0, 1024, (6, 8))
    columns = np.concatenate([delayed(frames, BOOKS), np.full((1, 8), 1025)])
    columns[-2, 7] = last
    assert np.array_equal(np.array(pushed(columns)), frames)


def test_a_garbled_code_costs_its_frame_and_no_other():
    frames = np.random.default_rng(2).integers(0, 1024, (10, 8))
    columns = delayed(frames, BOOKS)
    columns[1 + 4 + 3, 3] = 1024  # Frame 4, codebook 3.
    assert np.array_equal(np.array(pushed(columns)), np.delete(frames, 4, axis=0))


def test_the_pattern_is_that_of_transformers():
    processor = published_processor(*folders())
    frames = np.random.default_rng(3).integers(0, 1024, (9, 8))
    edge = np.full((1, 8), 1)
    framed = np.concatenate([edge * 1024, frames, edge * 1025])
    theirs = processor.build_delay_pattern(torch.from_numpy(framed.T[None]))[0].T.numpy()
    assert np.array_equal(delayed(frames, BOOKS), theirs)
    back = processor.revert_delay_pattern(torch.from_numpy(theirs))[1:-1].numpy()
    assert np.array_equal(np.array(pushed(theirs)), back)
