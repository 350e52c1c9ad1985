"""Codes of ids that come in batches are those of all of them at once."""

import sys
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.core.coding import IdCoder
from fastgcn_rec.core.ids import as_texts, factorize

EDGES = [-(2**63), -1, 0, 1, 2**63 - 1]
IDS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES) | st.integers(-3, 3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["", "\0", "a\0", "a"])


def encoded(texts, kind):
    raw = [text.encode() for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in raw], dtype=np.int64)))
    return offsets.astype(kind), np.frombuffer(b"".join(raw) or b"\0", np.uint8)


@given(st.lists(st.lists(IDS, max_size=40), max_size=4))
def test_integers(batches):
    coder = IdCoder()
    for batch in batches:
        coder.add_integers(np.array(batch, np.int64))
    space, codes = coder.finish()
    expected, inverse = np.unique(np.array(list(chain.from_iterable(batches)), np.int64), return_inverse=True)
    assert (space.tolist(), codes.tolist()) == (expected.tolist(), inverse.reshape(-1).tolist())
    assert (space.dtype, codes.dtype) == (np.int64, np.int32)


@given(st.lists(st.lists(TEXTS, max_size=40), min_size=1, max_size=4), st.sampled_from([np.int32, np.int64]))
def test_texts(batches, kind):
    coder, again = IdCoder(), IdCoder()
    for batch in batches:
        coder.add_texts(*encoded(batch, kind))
        distinct = sorted(set(batch))
        again.add_texts(*encoded(distinct, kind), np.array([distinct.index(text) for text in batch], np.int64))
    every = list(chain.from_iterable(batches))
    for number, text in enumerate(dict.fromkeys(every)):
        assert every[coder.row_of(number)] == text
    space, codes = coder.finish()
    expected, inverse = factorize(as_texts(every))
    assert (space.tolist(), codes.tolist()) == (expected.tolist(), inverse.tolist())
    assert space.tolist() == sorted(set(every))
    assert [part.tolist() for part in again.finish()] == [space.tolist(), codes.tolist()]


def test_parsed_texts_may_become_one_id():
    coder = IdCoder()
    for batch in (["07", "8"], ["7", "07"]):
        coder.add_texts(*encoded(batch, np.int32))
    space, codes = coder.finish(lambda texts: np.array(list(map(int, texts.texts())), np.int64))
    assert (space.tolist(), codes.tolist()) == ([7, 8], [0, 1, 0, 0])


def test_texts_that_are_no_utf8_are_refused():
    coder = IdCoder()
    coder.add_texts(np.array([0, 2], np.int32), np.frombuffer(b"a\xff", np.uint8))
    with pytest.raises(ValueError, match="can't decode byte 0xff"):
        coder.finish()


def test_no_ids_at_all():
    space, codes = IdCoder().finish()
    assert (space.tolist(), codes.tolist(), codes.dtype) == ([], [], np.int32)


def test_many_ids_have_the_codes_of_one_thread():
    ids = np.random.default_rng(0).integers(-(2**40), 2**40, 300_000)
    ids = np.concatenate((ids, ids[::3], ids[::-1]))
    expected, inverse = np.unique(ids, return_inverse=True)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            space, codes = factorize(ids)
            assert np.array_equal(space, expected)
            assert np.array_equal(codes, inverse)
    finally:
        torch.set_num_threads(before)


def test_blanks_at_an_end_are_those_that_strip_takes_away():
    for blank in filter(str.isspace, map(chr, range(sys.maxunicode + 1))):
        for text in (blank, f"{blank}ü", f"ü{blank}", f"7{blank}"):
            coder, found = IdCoder(), []
            coder.add_texts(*encoded(["a", text], np.int32))
            coder.finish(
                lambda texts, found=found, text=text: found.append((texts.forms(), texts.has(text), texts.has("b")))
            )
            assert found == [((True, False, True), True, False)]
