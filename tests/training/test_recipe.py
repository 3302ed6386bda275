"""The recipe files: those that ship are sound, and what is wrong in one is named with its line."""

from pathlib import Path

import pytest

from edgegal.errors import InputError
from edgegal.labels import SCHEMES
from edgegal.training.recipe import BASELINE, Overrides, Recipe, Vgg16, load_recipe

pytestmark = pytest.mark.host

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = sorted(RECIPES.glob("*.toml"))

SMALL = """title = "small"
reproduces = "nothing"

[data]
set = "some"
size = 32

[network]
kind = "scratch"
filters = [8, 8]

[training]
epochs = 2

[[pretraining]]
name = "elsewhere"
data = { set = "other" }

[[runs]]
name = "plain"

[[runs]]
name = "tuned"
start = "elsewhere"
tune = "dense"
[runs.network]
dropout = 0.5
[runs.training]
rate = 0.01

[[runs]]
name = "large"
network = { kind = "vgg16" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


# Figures of the works, typed from them and not from the recipes.
STATED: dict[str, tuple[tuple[str, ...], dict[str, tuple[float, ...]]]] = {
    "course-scratch": (
        ("accuracy", "macro_precision", "balanced_accuracy", "macro_auc"),
        {
            "simple": (0.70, 0.61, 0.57, 0.76),
            "bigger": (0.76, 0.66, 0.63, 0.80),
            "dropout": (0.81, 0.76, 0.73, 0.85),
            "dropout, L1L2, batch norm": (0.79, 0.76, 0.72, 0.85),
            "dropout, batch norm": (0.83, 0.79, 0.74, 0.86),
            "dropout, L1L2": (0.70, 0.59, 0.57, 0.76),
            "L1L2, batch norm": (0.78, 0.73, 0.71, 0.84),
        },
    ),
    "course-vgg16": (("accuracy", "macro_f1"), {"fine-tuned from block 5": (0.81, 0.78)}),
    "course-crossval": (
        ("accuracy", "macro_precision", "balanced_accuracy"),
        {"scratch": (0.80, 0.82, 0.70), "VGG-16": (0.77, 0.79, 0.74)},
    ),
    "course-two-convolution": (("accuracy", "macro_f1"), {"smallest, as published": (0.82, 0.76)}),
    "thesis-transfer": (
        ("accuracy", "log_loss"),
        {
            "a) from scratch": (0.853, 0.309),
            "b) first set, as it is": (0.604, 0.955),
            "c) first set, dense": (0.736, 4.244),
            "d) first set, two convolutions and dense": (0.736, 4.244),
            "e) second set, as it is": (0.764, 0.631),
            "f) second set, dense": (0.885, 0.229),
            "g) second set, two convolutions and dense": (0.936, 0.223),
        },
    ),
    "challenge-classification": (
        ("accuracy", "f1:featured", "macro_auc"),
        {
            "grey": (0.9339, 0.9469, 0.9339),
            "RGB": (0.9446, 0.956, 0.9413),
            "grey, dropout": (0.9343, 0.9469, 0.9363),
            "RGB, dropout": (0.9471, 0.9588, 0.9377),
            "grey, augmented": (0.9569, 0.9655, 0.9576),
            "RGB, augmented": (0.9702, 0.9763, 0.9685),
            "grey, both": (0.9606, 0.9686, 0.9602),
            "RGB, both": (0.9707, 0.9766, 0.9715),
            "RGB, augmented, at 50 %": (0.8303, 0.8458, 0.8341),
        },
    ),
    "challenge-regression": (
        ("mse", "mean_r2", "argmax_accuracy", "argmax_f1"),
        {
            "classification architecture, augmented": (0.01491, 0.8414, 0.935, 0.9346),
            "plain": (0.02971, 0.6808, 0.8754, 0.8740),
            "dropout": (0.02691, 0.7099, 0.8833, 0.8813),
            "augmented": (0.01455, 0.8476, 0.9330, 0.9325),
            "both": (0.01450, 0.8485, 0.9318, 0.9318),
            "both, at 50 %": (0.01726, 0.7796, 0.8324, 0.8337),
            "both, all six answers at 0 %": (0.0107, 0.6656, 0.7709, 0.7711),
        },
    ),
}


@pytest.mark.parametrize("stem", STATED)
def test_a_recipe_carries_the_figures_of_its_work(stem: str) -> None:
    names, stated = STATED[stem]
    runs = {run.name: dict(run.published) for run in load_recipe(RECIPES / f"{stem}.toml").runs}
    for name, figures in stated.items():
        assert runs[name] == dict(zip(names, figures, strict=True))


def test_recipes_have_the_settings_that_the_works_state() -> None:
    recipes = {path.stem: load_recipe(path) for path in SHIPPED}
    for stem, recipe in recipes.items():
        run = recipe.runs[-1]
        size, batch = {"course": (69, 64), "thesis": (96, 32), "challenge": (64, 64)}[stem.partition("-")[0]]
        assert (run.data.size, run.training.batch) == (size, batch)
    thesis = recipes["thesis-transfer"]
    assert {run.training.epochs for run in thesis.pretraining} == {15}
    assert {run.training.epochs for run in thesis.runs if run.start} == {10}
    assert {run.training.optimizer for run in thesis.runs} == {"adamax"}
    assert thesis.runs[0].data.split[::2] == (3000, 758)
    for stem in ("challenge-classification", "challenge-regression"):
        for run in recipes[stem].runs:
            assert (run.training.epochs, run.training.optimizer, run.training.rate) == (25, "adam", 1e-3)
            assert run.data.split == (60, 20, 20)
    searched = recipes["course-two-convolution"].runs[0].training
    assert (searched.optimizer, searched.rate, searched.epochs, searched.stop_after) == ("rmsprop", 1e-5, 40, 2)
    assert recipes["course-crossval"].evaluation.folds == 5
    assert recipes["course-ensemble"].ensembles[0].step == 0.1


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_recipe_is_sound(path: Path) -> None:
    from edgegal.data import DATASETS

    recipe = load_recipe(path)
    for run in (*recipe.pretraining, *recipe.all_runs()):
        assert run.data.set in DATASETS
        assert run.data.scheme in SCHEMES
    kinds = {run.name: run.network.kind for run in recipe.all_runs()}
    assert kinds[recipe.baseline_name] == "two-convolution"
    assert any(run.published for run in recipe.runs)
    assert recipe.evaluation.folds or len(recipe.seeds) == 3


def test_every_published_experiment_has_its_recipe() -> None:
    assert [path.stem for path in SHIPPED] == [
        "challenge-classification",
        "challenge-regression",
        "course-crossval",
        "course-ensemble",
        "course-imbalance",
        "course-scratch",
        "course-two-convolution",
        "course-vgg16",
        "thesis-transfer",
    ]


def test_a_run_changes_single_fields_of_what_is_common(tmp_path: Path) -> None:
    plain, tuned, large, baseline = load_recipe(written(tmp_path, SMALL)).all_runs()
    assert (plain.data.set, plain.training.epochs, plain.network.kind) == ("some", 2, "scratch")
    assert tuned.network.model_dump() == {**plain.network.model_dump(), "dropout": 0.5}
    assert (tuned.training.epochs, tuned.training.rate) == (2, 0.01)
    # Options of another kind of network do not come over.
    assert large.network == Vgg16(kind="vgg16")
    assert (baseline.name, baseline.data, baseline.training) == (BASELINE, plain.data, plain.training)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("size = 32", "sise = 32", 6, "unknown key data.sise"),
        ("size = 32", "size = 3", 6, "data.size"),
        ("filters = [8, 8]", "filter = [8]", 10, "unknown key network.filter"),
        ('tune = "dense"', 'tune = "some"', 25, "runs.1.tune"),
        ("dropout = 0.5", "dropuot = 0.5", 27, "unknown key runs.1.network.dropuot"),
        ("rate = 0.01", "rate = -1", 29, "runs.1.training.rate"),
        ('{ kind = "vgg16" }', '{ kind = "vgg19" }', 33, "runs.2.network"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as error:
        load_recipe(written(tmp_path, SMALL.replace(old, new)))
    assert f"recipe.toml, line {line}: " in error.value.message
    assert message in error.value.message


def test_a_near_miss_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_recipe(written(tmp_path, SMALL.replace("dropout", "dropuot")))
    assert error.value.mend == "did you mean dropout?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('start = "elsewhere"', 'start = "nowhere"', "no \\[\\[pretraining\\]\\] is called"),
        ('name = "plain"', 'name = "Tuned"', "two runs are called"),
        ('title = "small"', 'title = "small"\nbaseline = "plain"', "no run with a two-convolution network"),
        ("[training]", "[evaluation]\nfolds = 5\n[training]", "no pretraining"),
        ("[training]", "[evaluation]\nfolds = 21\n[training]", "less than or equal to 20"),
        ("[[pretraining]]", '[[pretraining]]\nstart = "elsewhere"', "starts from another"),
        ('name = "plain"', 'name = "plain"\npublished = { acuracy = 1.0 }', "no figure is called 'acuracy'"),
        ('name = "large"', 'name = "large', "is not TOML"),
        ('reproduces = "nothing"', "", "reproduces: Field required"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError, match=message):
        load_recipe(written(tmp_path, SMALL.replace(old, new)))


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe"):
        load_recipe(tmp_path / "absent.toml")


def test_the_command_line_changes_sets_length_and_seeds(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, SMALL.replace('set = "some"', 'set = "some"\nscheme = "h4"\ncentre = 0.5')))
    asked = Overrides(data="mine", pretrain="yours", weights="none", epochs=7, seed=5)
    changed = asked.applied(recipe)
    assert {run.data.set for run in changed.all_runs()} == {"mine"}
    assert {(run.data.scheme, run.data.centre) for run in changed.all_runs()} == {("", 1.0)}
    assert changed.pretraining[0].data.set == "yours"
    assert {run.training.epochs for run in (*changed.pretraining, *changed.all_runs())} == {7}
    assert changed.runs[1].training.rate == 0.01
    assert changed.runs[2].network.weights == "none"
    assert changed.seeds == (5,)
    assert asked.told() == (
        "pictures of mine; pretraining on yours; VGG-16 weights none; at most 7 epochs; seed 5 alone"
    )


def test_pretraining_on_the_recipes_own_set_goes_with_it(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, SMALL.replace('set = "other"', 'set = "some"')))
    assert Overrides(data="mine").applied(recipe).pretraining[0].data.set == "mine"


def test_one_set_for_several_pretrainings_leaves_one_of_them() -> None:
    recipe = next(load_recipe(path) for path in SHIPPED if path.stem == "thesis-transfer")
    changed = Overrides(data="mine", pretrain="yours", scheme="h4", leave_out=("merger",)).applied(recipe)
    assert [run.name for run in changed.pretraining] == ["second set"]
    assert {run.start for run in changed.runs} == {"", "second set"}
    assert len(recipe.runs) - len(changed.runs) == 3
    assert {(run.data.scheme, run.data.leave_out) for run in changed.all_runs()} == {("h4", ("merger",))}


def test_no_change_changes_nothing(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, SMALL))
    assert Overrides().applied(recipe) == recipe
    assert Overrides().told() == ""
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_command_refuses_a_wrong_file_before_it_makes_anything(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from edgegal.cli.train import app

    path = written(tmp_path, SMALL.replace("size = 32", "sise = 32"))
    result = CliRunner().invoke(app, ["recipe", str(path), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, InputError)
    assert result.exception.mend == "did you mean size?"
    assert not (tmp_path / "out").exists()
