import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.errors import InputError
from edgegal.labels import SCHEMES, UNLABELLED, label_map, project, relabel, scheme

MAPPED = [
    ("gz2-5class", "h4"),
    ("gz1-6class", "h4"),
    ("galaxy6", "h4"),
    ("galaxy6", "gz2-5class"),
    ("gz2-5class", "galaxy6"),
    ("galaxy10-sdss", "galaxy10-sdss-9"),
    ("galaxy10-sdss", "gz2-5class"),
    ("galaxy10-sdss-9", "h4"),
    ("galaxy10-decals", "galaxy6"),
    ("galaxy10-decals", "gz2-5class"),
    ("galaxy10-decals", "h4"),
    ("gz-second-level", "gz-second-level-4"),
    ("gz2-5class", "gz-smooth-featured"),
    ("gz1-6class", "gz-smooth-featured"),
    ("h4", "gz-smooth-featured"),
    ("gz1-disks", "gz-smooth-featured"),
    *((name, name) for name in SCHEMES),
]


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
        (
            "galaxy6",
            {
                "round": "smooth",
                "in-between": "smooth",
                "cigar": "smooth",
                "edge-on": "edge-on",
                "spiral": "spiral",
                "merger": "merger",
            },
        ),
        (
            "galaxy10-sdss",
            {
                "disk-face-on-no-spiral": None,
                "smooth-completely-round": "smooth",
                "smooth-in-between-round": "smooth",
                "smooth-cigar-shaped": "smooth",
                "disk-edge-on-rounded-bulge": "edge-on",
                "disk-edge-on-boxy-bulge": "edge-on",
                "disk-edge-on-no-bulge": "edge-on",
                "disk-face-on-tight-spiral": "spiral",
                "disk-face-on-medium-spiral": "spiral",
                "disk-face-on-loose-spiral": "spiral",
            },
        ),
        (
            "galaxy10-decals",
            {
                "disturbed": None,
                "merging": "merger",
                "round-smooth": "smooth",
                "in-between-round-smooth": "smooth",
                "cigar-shaped-smooth": "smooth",
                "barred-spiral": "spiral",
                "unbarred-tight-spiral": "spiral",
                "unbarred-loose-spiral": "spiral",
                "edge-on-without-bulge": "edge-on",
                "edge-on-with-bulge": "edge-on",
            },
        ),
    ],
)
def test_surveys_map_to_the_common_classes(source, wanted):
    target = scheme("h4")
    table = label_map(scheme(source), target)
    named = {
        label: None if index == UNLABELLED else target.labels[index]
        for label, index in zip(scheme(source).labels, table, strict=True)
    }
    assert named == wanted


def test_disks_are_featured_and_mergers_are_neither() -> None:
    table = label_map(scheme("galaxy6"), scheme("gz-smooth-featured"))
    assert table.tolist() == [0, 0, 0, 1, 1, UNLABELLED]
    handed = label_map(scheme("gz1-6class"), scheme("gz-smooth-featured"))
    assert handed.tolist() == [0, 1, 1, 1, UNLABELLED, UNLABELLED]


def test_the_numbers_of_galaxy10_are_those_of_its_files():
    """Class numbers as the files give them, by the documentation of astroNN."""
    sdss, decals = scheme("galaxy10-sdss"), scheme("galaxy10-decals")
    assert (sdss.index("smooth-completely-round"), sdss.index("disk-edge-on-boxy-bulge")) == (1, 5)
    assert (decals.index("merging"), decals.index("cigar-shaped-smooth"), decals.index("edge-on-with-bulge")) == (
        1,
        4,
        9,
    )
    nine = label_map(sdss, scheme("galaxy10-sdss-9"))
    assert nine.tolist() == [0, 1, 2, 3, 4, UNLABELLED, 5, 6, 7, 8]


def test_no_map_is_an_error_and_not_a_guess():
    with pytest.raises(InputError, match=r"no map from label scheme 'h4' to 'gz1-6class'"):
        label_map(scheme("h4"), scheme("gz1-6class"))


@pytest.mark.parametrize(("source", "target"), MAPPED)
@settings(max_examples=25)
@given(data=st.data())
def test_relabelling_is_the_map_applied_one_by_one(source, target, data):
    old, new = scheme(source), scheme(target)
    labels = np.array(data.draw(st.lists(st.integers(-1, len(old.labels) - 1), max_size=20)), np.int32)
    table = label_map(old, new)
    wanted = [UNLABELLED if label == UNLABELLED else table[label] for label in labels]
    result = relabel(labels, old, new)
    assert result.dtype == np.int32
    assert result.tolist() == wanted


def probabilities(classes: int) -> st.SearchStrategy[np.ndarray]:
    rows = st.lists(st.floats(0, 1), min_size=classes, max_size=classes)
    return st.lists(rows, max_size=8).map(lambda r: np.array(r, np.float32).reshape(-1, classes))


@pytest.mark.parametrize(("source", "target"), MAPPED)
@settings(max_examples=25)
@given(data=st.data())
def test_projected_probabilities_keep_the_mass_and_its_ratios(source, target, data):
    old, new = scheme(source), scheme(target)
    before = data.draw(probabilities(len(old.labels)))
    after = project(before, old, new)
    assert after.dtype == np.float32
    assert after.shape == (len(before), len(new.labels))
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-5)
    table = label_map(old, new)
    for row, result in zip(before, after, strict=True):
        wanted = [float(sum(row[table == i].astype(float))) for i in range(len(new.labels))]
        if sum(wanted) > 0:
            np.testing.assert_allclose(result, np.array(wanted) / sum(wanted), rtol=1e-5, atol=1e-30)
        else:
            np.testing.assert_allclose(result, 1 / len(new.labels))


def test_a_sure_class_projects_as_its_label_does():
    old, new = scheme("galaxy6"), scheme("gz2-5class")
    after = project(np.eye(6, dtype=np.float32), old, new)
    np.testing.assert_allclose(after[:5], np.eye(5))
    # Nothing is left of a merger.
    np.testing.assert_allclose(after[5], 0.2)


@pytest.mark.parametrize("shape", [(6,), (2, 5), (1, 2, 6)])
def test_probabilities_of_other_classes_are_refused(shape):
    with pytest.raises(InputError, match="6 classes of 'galaxy6'"):
        project(np.ones(shape), scheme("galaxy6"), scheme("h4"))


def test_lenticulars_are_neither_smooth_nor_featured() -> None:
    table = label_map(scheme("hubble3"), scheme("gz-smooth-featured"))
    assert table.tolist() == [0, UNLABELLED, 1]


def test_only_handedness_forbids_mirroring():
    assert {name for name, s in SCHEMES.items() if not s.mirror_safe} == {"gz1-6class"}


@pytest.mark.parametrize("name", ["galaxy10-sdss", "galaxy10-sdss-9", "galaxy10-decals"])
def test_galaxy10_answers_the_first_question_of_galaxy_zoo(name: str) -> None:
    table = label_map(scheme(name), scheme("gz-smooth-featured"))
    for label, answer in zip(scheme(name).labels, table, strict=True):
        if "spiral" in label or "edge-on" in label:
            assert answer == 1
        elif "smooth" in label:
            assert answer == 0
        else:
            assert answer == UNLABELLED


def test_where_there_is_no_map_those_that_there_are_are_named() -> None:
    with pytest.raises(InputError) as error:
        label_map(scheme("gz1-6class"), scheme("hubble3"))
    assert error.value.mend == "it maps to: h4, gz-smooth-featured"
