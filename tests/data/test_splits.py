"""Splits: by object, stratified, the same everywhere, stored by hash."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.data.splits import SPLITS, Shares, assign_splits, read_split, split_digest, write_split
from edgegal.errors import DatasetError, InputError

pytestmark = pytest.mark.host

shares = st.tuples(*[st.floats(0, 100)] * 3).filter(lambda parts: sum(parts) > 1e-3).map(lambda parts: Shares(*parts))
tables = st.dictionaries(st.text(max_size=6), st.tuples(st.integers(-1, 3), st.integers(1, 3)), max_size=60)


@given(tables, shares)
def test_objects_stay_whole_and_classes_keep_their_shares(table, wanted):  # type: ignore[no-untyped-def]
    objects = [name for name, (_, copies) in table.items() for _ in range(copies)]
    labels = np.array([label for label, copies in table.values() for _ in range(copies)], np.int32)
    splits = assign_splits(objects, labels, wanted)
    assert set(splits.tolist()) <= set(SPLITS)
    split_of = dict(zip(objects, splits.tolist(), strict=True))
    assert [split_of[name] for name in objects] == splits.tolist()
    total = wanted.train + wanted.val + wanted.test
    for label, n in Counter(label for label, _ in table.values()).items():
        counted = Counter(split_of[name] for name, (own, _) in table.items() if own == label)
        for split in SPLITS:
            assert abs(counted[split] - n * getattr(wanted, split) / total) <= 1


@given(st.lists(st.text(max_size=8), unique=True, max_size=40), st.randoms())
def test_the_order_of_the_pictures_does_not_matter(names, random):  # type: ignore[no-untyped-def]
    labels = np.array([len(name) % 2 for name in names], np.int32)
    first = dict(zip(names, assign_splits(names, labels).tolist(), strict=True))
    order = list(range(len(names)))
    random.shuffle(order)
    again = assign_splits([names[i] for i in order], labels[order])
    assert [first[names[i]] for i in order] == again.tolist()


def test_the_hash_of_the_name_decides() -> None:
    """Golden: the order of sha256, cut at 70 and 85 of 100, by hand."""
    names = [str(i) for i in range(100)]
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    splits = dict(zip(names, assign_splits(names, np.zeros(100, np.int32)).tolist(), strict=True))
    assert [splits[name] for name in by_hash] == ["train"] * 70 + ["val"] * 15 + ["test"] * 15


def test_an_object_with_two_labels_is_still_one() -> None:
    splits = assign_splits(["a", "b", "a", "b"], np.array([3, 1, 0, 1], np.int32))
    assert splits[0] == splits[2]
    assert splits[1] == splits[3]


@pytest.mark.parametrize(("text", "wanted"), [("60/20/20", (60, 20, 20)), ("3000/0/758", (3000, 0, 758))])
def test_published_shares_are_read(text: str, wanted: tuple[float, ...]) -> None:
    parsed = Shares.parse(text)
    assert (parsed.train, parsed.val, parsed.test) == wanted
    assert str(parsed) == text


def test_counts_are_shares_too() -> None:
    splits = assign_splits([str(i) for i in range(3758)], np.zeros(3758, np.int32), Shares.parse("3000/0/758"))
    assert Counter(splits.tolist()) == {"train": 3000, "test": 758}


@pytest.mark.parametrize("text", ["", "70/30", "a/b/c", "0/0/0", "-1/1/1", "nan/1/1", "1/1/1/1"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Shares.parse(text)
    assert "70/15/15" in caught.value.mend


IDS = ("a", "b", "c", "d")
GIVEN = ("train", "test", "train", "val")


def test_a_stored_split_comes_back_in_any_order(tmp_path: Path) -> None:
    digest = write_split(tmp_path / "new" / "split.json", "four", IDS, GIVEN)
    assert digest == split_digest(IDS[::-1], GIVEN[::-1])
    assert read_split(tmp_path / "new" / "split.json", IDS[::-1]).tolist() == list(GIVEN[::-1])
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["split.json"]


def damage(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_split_that_was_altered_or_is_of_another_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    with pytest.raises(DatasetError, match="is missing"):
        read_split(path, IDS)
    write_split(path, "four", IDS, GIVEN)
    with pytest.raises(DatasetError, match="1 of them are not in it, the first is e"):
        read_split(path, (*IDS[:3], "e"))
    with pytest.raises(DatasetError, match="has 4 pictures, the set 3"):
        read_split(path, IDS[:3])
    damage(path, splits={"train": ["a"], "val": ["d"], "test": ["b", "c"]})
    with pytest.raises(DatasetError, match="was altered"):
        read_split(path, IDS)
    write_split(path, "four", IDS, GIVEN)
    damage(path, schema_version=2)
    with pytest.raises(DatasetError, match="schema 2"):
        read_split(path, IDS)
    for nonsense in ("", "[]", "{}", '{"splits": 3}'):
        path.write_text(nonsense)
        with pytest.raises(DatasetError, match="is not a split"):
            read_split(path, IDS)
