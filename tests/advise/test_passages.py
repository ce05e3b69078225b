import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.advise.passages import Index, cut, ranked, read
from metier.core.errors import InputError

PAGES = ["Refunds take five days.", "The lamp has a warranty of two years.", "Our shop opens at nine."]


def test_the_passage_with_the_rare_words_comes_first():
    index = Index(PAGES)
    assert index.best("how long is the warranty of a lamp", 2)[0] == 1
    assert index.best("refunds?", 3) == [0]
    assert index.best("zebra", 3) == []
    assert Index([]).best("anything", 1) == []


def test_a_repeated_word_counts_less_each_time_and_a_long_text_less():
    assert Index(["lamp", "lamp " + "other words " * 20, "none"]).best("lamp", 1) == [0]


@given(st.text(max_size=2000))
def test_cutting_keeps_every_word_in_order(text):
    passages = cut(text)
    assert " ".join(passages).split() == text.split()
    assert all(0 < len(passage.split()) <= 100 for passage in passages)


def test_documents_are_text_files_or_folders_of_them(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.md").write_text(PAGES[0])
    (tmp_path / "b.txt").write_text(PAGES[1])
    assert read(["pages", "b.txt"], tmp_path) == PAGES[:2]
    for name in ("gone.txt", "b.pdf"):
        with pytest.raises(InputError, match=r"advise\.documents: .*a \.txt or \.md file"):
            read([name], tmp_path)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="not UTF-8"):
        read(["bad.txt"], tmp_path)


def test_meaning_finds_what_words_do_not():
    texts = ["the car will not start", "rain is expected", "how to bake bread"]
    meanings = {"the car will not start": 0, "rain is expected": 1, "how to bake bread": 2, "motor trouble": 0}

    def space(rows, asked):
        eye = np.eye(3)
        return tuple(np.stack([eye[meanings[text]] for text in some]) for some in (rows, asked))

    assert ranked(texts, ["motor trouble"], 1, None) == [()]
    assert ranked(texts, ["motor trouble"], 1, space) == [(0,)]
    assert ranked(texts, ["how to bake bread"], 1, space) == ranked(texts, ["how to bake bread"], 1, None) == [(2,)]
