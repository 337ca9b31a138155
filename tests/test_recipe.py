"""Recipes: those that come along can be read, and what does not fit is named."""

from pathlib import Path

import pytest

from edge_seg.errors import DataError
from edge_seg.recipe import Recipe, list_recipes, parse_recipe, read_recipe


def test_shipped_recipes_are_read_by_name() -> None:
    assert list_recipes() == ["camvid", "qat", "quick"]
    assert all(isinstance(read_recipe(name), Recipe) for name in list_recipes())
    assert read_recipe("camvid").samples.scale_most == 2.5


def test_a_recipe_of_ones_own_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[schedule]\nepochs = 3\noptimizer = "sgd"\n[loss]\nkind = "ohem"\n')

    recipe = read_recipe(str(tmp_path / "mine.toml"))

    assert (recipe.schedule.epochs, recipe.schedule.optimizer, recipe.loss.kind) == (3, "sgd", "ohem")
    assert recipe.samples == Recipe().samples


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sched]\n", r"expected the tables \[samples\], \[loss\], \[schedule\], \[distillation\], found 'sched'"),
        ("epochs = 3\n", r"expected the tables .*, found 'epochs'"),
        ("[schedule]\nepoch = 3\n", r"\[schedule\] has no 'epoch'. Did you mean 'epochs'\?"),
        ("[schedule]\nxyz = 3\n", r"\[schedule\] has no 'xyz'. It has epochs, batch"),
        ("[schedule]\nepochs = 0\n", r"epochs = 0: expected a whole number from 1 to 100000"),
        ("[schedule]\nepochs = 2.5\n", r"epochs = 2.5: expected a whole number"),
        ("[schedule]\nlr = true\n", r"lr = True: expected a number from 0 to 1000000\."),
        ("[schedule]\nlr = nan\n", r"lr = nan: expected a number"),
        ("[samples]\nmirror = 2\n", r"mirror = 2: expected a number from 0 to 1"),
        ("[samples]\nscale_least = 3.0\n", r"scale_least 3.0 is above scale_most 2.5"),
        ("[loss]\nfocal_gamma = -1\n", r"focal_gamma = -1: expected a number from 0 to 10"),
        ("[loss]\nohem_sure = 0\n", r"ohem_sure = 0: expected a number from 0\.01 to 1"),
        ("[loss]\nohem_least = 1.5\n", r"ohem_least = 1\.5: expected a number from 0 to 1"),
        ('[loss]\nkind = "hinge"\n', r"kind = 'hinge': expected 'cross-entropy' or 'ohem' or 'focal'"),
        ("[loss\n", "is no TOML"),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_recipe(str(tmp_path / "mine.toml"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"No recipe 'camvod'\. Give a TOML file, or one of camvid, qat, quick"):
        read_recipe("camvod")


def test_tables_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="found 'schedule'"):
        parse_recipe({"schedule": 3}, "mine.toml")
