import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.errors import InputError
from edgegal.labels import SCHEMES, UNLABELLED, label_map, relabel, scheme

MAPPED = [("gz2-5class", "h4"), ("gz1-6class", "h4"), *((name, name) for name in SCHEMES)]


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_finds_its_labels_by_name_and_place(name):
    found = scheme(name)
    assert found.name == name
    assert [found.index(label) for label in found.labels] == list(range(len(found.labels)))
    assert len(set(found.labels)) == len(found.labels)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError) as error:
        scheme("hubble")
    assert "hubble" in error.value.message
    assert "gz2-5class" in error.value.mend
    with pytest.raises(InputError) as error:
        scheme("h4").index("ring")
    assert "ring" in error.value.message
    assert "smooth, spiral, edge-on, merger" in error.value.mend


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (
            "gz2-5class",
            {"round": "smooth", "in-between": "smooth", "cigar": "smooth", "edge-on": "edge-on", "spiral": "spiral"},
        ),
        (
            "gz1-6class",
            {
                "elliptical": "smooth",
                "spiral-cw": "spiral",
                "spiral-acw": "spiral",
                "edge-on": "edge-on",
                "merger": "merger",
                "dont-know": None,
            },
        ),
    ],
)
def test_both_surveys_map_to_the_common_classes(source, wanted):
    target = scheme("h4")
    table = label_map(scheme(source), target)
    named = {
        label: None if index == UNLABELLED else target.labels[index]
        for label, index in zip(scheme(source).labels, table, strict=True)
    }
    assert named == wanted


def test_no_map_is_an_error_and_not_a_guess():
    with pytest.raises(InputError, match=r"no map from label scheme 'h4' to 'gz1-6class'"):
        label_map(scheme("h4"), scheme("gz1-6class"))


@pytest.mark.parametrize(("source", "target"), MAPPED)
@given(data=st.data())
def test_relabelling_is_the_map_applied_one_by_one(source, target, data):
    old, new = scheme(source), scheme(target)
    labels = np.array(data.draw(st.lists(st.integers(-1, len(old.labels) - 1), max_size=20)), np.int32)
    table = label_map(old, new)
    wanted = [UNLABELLED if label == UNLABELLED else table[label] for label in labels]
    result = relabel(labels, old, new)
    assert result.dtype == np.int32
    assert result.tolist() == wanted


def test_only_handedness_forbids_mirroring():
    assert {name for name, s in SCHEMES.items() if not s.mirror_safe} == {"gz1-6class"}
