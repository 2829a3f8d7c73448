"""The drawn data sets: deterministic, exactly labelled, honest about hybrids, backgrounds blind to the class."""

import os
import subprocess
import sys
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

import menagerie
from menagerie import DATA_SETS, animals, games, missing_parts, parts_of, render

EVERY_SPECIES = [(d, s) for d, spec in DATA_SETS.items() for s in spec.classes + tuple(spec.hybrids)]
PETS, WILD, GAME = "menagerie-pets", "menagerie-wild", "menagerie-game"


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """`mask` and all pixels within `by` rows and columns of it."""
    wide = np.pad(mask, by)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (2 * by + 1, 2 * by + 1))
    return windows.any((-1, -2))


def label(spec, part: str) -> int:
    return spec.parts.index(part) + 1


def test_the_data_sets_are_complete():
    assert set(DATA_SETS) == {PETS, WILD, "menagerie-flowers", "menagerie-leaves", GAME}
    for name, spec in DATA_SETS.items():
        assert spec.name == name and spec.version >= 1
        assert len(set(spec.classes)) == len(spec.classes) and set(spec.fine) <= set(spec.classes)
        assert not set(spec.hybrids) & set(spec.classes)
    assert all(len(DATA_SETS[PETS].fine[c]) >= 3 for c in ("cat", "dog"))
    assert len(DATA_SETS[WILD].classes) >= 12
    assert {"liger", "tigon", "zorse", "tapir"} <= set(DATA_SETS[WILD].hybrids)


def test_a_drawing_has_the_promised_arrays_and_the_same_arguments_draw_the_same_picture():
    for size in (64, 97):
        drawing = render(WILD, "liger", 3, size=size)
        assert drawing.picture.shape == (size, size, 3) and drawing.picture.dtype == np.uint8
        assert drawing.parts.shape == (size, size) and drawing.parts.dtype == np.uint8
        assert drawing.parts.max() <= len(DATA_SETS[WILD].parts)
        assert (drawing.species, drawing.fine, drawing.removed) == ("liger", None, frozenset())
    for data_set in DATA_SETS:
        species = DATA_SETS[data_set].classes[0]
        one, other = render(data_set, species, 5, size=96), render(data_set, species, 6, size=96)
        np.random.seed(1)  # global random state must not matter
        again = render(data_set, species, 5, size=96)
        assert np.array_equal(one.picture, again.picture) and np.array_equal(one.parts, again.parts)
        assert np.abs(one.picture.astype(int) - other.picture).mean() > 5


def test_another_process_draws_the_same_picture():
    code = "import menagerie; print(menagerie.render('menagerie-pets', 'dog', 11, size=64).picture.sum())"
    sums = set()
    for salt in ("1", "2"):  # Python's own hash() differs between these
        path = os.pathsep.join([str(Path(menagerie.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        sums.add(int(done.stdout))
    assert sums == {int(render(PETS, "dog", 11, size=64).picture.sum())}


def test_another_size_shows_the_same_scene():
    for data_set, species in ((PETS, "cat"), ("menagerie-leaves", "maple")):
        small, large = render(data_set, species, 4, size=80), render(data_set, species, 4, size=160)
        averaged = large.picture.reshape(80, 2, 80, 2, 3).mean((1, 3))
        assert np.abs(averaged - small.picture).mean() < 12
        assert (large.parts[::2, ::2] == small.parts).mean() > 0.93


@pytest.mark.parametrize(("data_set", "species"), [(PETS, "cat"), (PETS, "dog"), (WILD, "lion"), (WILD, "elephant")])
def test_removing_a_part_changes_its_neighbourhood_only(data_set, species):
    spec, size = DATA_SETS[data_set], 96
    for seed in (2, 9):
        whole = render(data_set, species, seed, size=size)
        for part in parts_of(data_set, species):
            without = render(data_set, species, seed, size=size, remove={part})
            here = whole.parts == label(spec, part)
            assert without.removed == {part}
            assert here.any() and not (without.parts == label(spec, part)).any()
            changed = (without.picture != whole.picture).any(-1)
            assert changed[here].mean() > 0.8
            # Its soft shadow on other parts reaches 3 % of the picture's side; farther off, a large part that lay
            # behind others may only show through a few of the anti-aliased seams between them.
            far = (changed & ~grown(here, 5)).mean()
            assert far <= (0.005 if part in ("head", "body", "mane", "tail") else 0), f"{part}: {far:.2%}"
            assert np.array_equal(without.parts[~here], whole.parts[~here])


def test_removing_everything_leaves_the_same_background():
    parts = DATA_SETS[PETS].parts
    cat, dog = (render(PETS, species, 21, size=96, remove=parts) for species in ("cat", "dog"))
    assert not cat.parts.any()
    # Only the soft shadow on the ground may differ.
    assert (cat.picture == dog.picture).mean() > 0.6


@pytest.mark.parametrize(("data_set", "species"), EVERY_SPECIES)
def test_every_expected_part_is_big_enough_to_see(data_set, species):
    spec = DATA_SETS[data_set]
    shares = []
    for seed in range(5):
        parts = render(data_set, species, seed, size=96).parts
        assert 0.08 < (parts > 0).mean() < 0.75
        shares.append(np.bincount(parts.ravel(), minlength=len(spec.parts) + 1)[1:] / (parts > 0).sum())
    for part, share in zip(spec.parts, np.median(shares, 0)):
        if part in parts_of(data_set, species):
            assert share >= 0.01, f"{species}'s {part} covers {share:.2%}"
        else:
            assert share == 0, f"{species} should have no {part}"


def test_hybrids_take_each_part_from_a_parent_that_has_it_the_liger_and_the_tapir_as_in_the_study():
    spec = DATA_SETS[WILD]
    for name, parents in spec.hybrids.items():
        assert set(parents.values()) <= set(spec.classes) and len(set(parents.values())) >= 2
        assert set(parents) == set(parts_of(WILD, name))
        for part, parent in parents.items():
            assert animals.WILD_HYBRIDS[name][part] is animals.WILD[parent][part]
    hybrids = DATA_SETS[WILD].hybrids
    assert {hybrids["liger"][p] for p in ("head", "ear", "eye", "nose", "mane")} == {"lion"}
    assert {hybrids["liger"][p] for p in ("body", "leg", "tail")} == {"tiger"}
    tapir = {"ear": "donkey", "head": "pig", "nose": "elephant", "eye": "rhinoceros", "leg": "rhinoceros"}
    assert tapir.items() <= hybrids["tapir"].items()


def test_a_hybrids_parts_are_painted_in_the_parents_colours():
    def mean_colour(species, part):
        colours = []
        for seed in range(8):
            drawing = render(WILD, species, seed, size=96)
            colours.append(drawing.picture[drawing.parts == label(DATA_SETS[WILD], part)].mean(0))
        return np.mean(colours, 0)

    for part, parent, other in (("head", "lion", "tiger"), ("leg", "tiger", "lion")):
        hybrid = mean_colour("liger", part)
        assert np.abs(hybrid - mean_colour(parent, part)).max() < np.abs(hybrid - mean_colour(other, part)).max()


def test_wild_parts_are_shared_so_that_no_part_alone_tells_the_species():
    for part in ("ear", "eye", "nose", "leg", "tail", "head", "body"):
        kinds = [animals.WILD[s][part].kind for s in animals.WILD]
        alone = [k for k in set(kinds) if kinds.count(k) == 1]
        assert len(alone) <= 3, f"{part}: {alone}"
    for species, table in animals.WILD.items():
        shared = sum(any(o[p] == table[p] for s, o in animals.WILD.items() if s != species and p in o) for p in table)
        assert shared >= 2, f"{species} shares only {shared} part variants with others"


def test_breeds_share_the_kinds_of_their_class():
    for species, breeds in animals.BREEDS.items():
        for part in ("ear", "eye", "nose", "leg", "head", "body"):
            assert len({table[part].kind for table in breeds.values()}) == 1, (species, part)
    cat, dog = (next(iter(animals.BREEDS[s].values())) for s in ("cat", "dog"))
    assert all(cat[part].kind != dog[part].kind for part in ("ear", "eye", "nose", "head"))


def test_kinds_of_the_game_differ_in_two_parts_and_share_every_variant():
    codes = list(games.CODES.values())
    assert len(set(codes)) == len(games.KINDS) == 20
    assert min(sum(x != y for x, y in zip(a, b)) for a, b in combinations(codes, 2)) == 2
    for part, column in zip(games.DECIDING, zip(*codes)):
        assert set(column) == set(range(len(games.VARIANTS[part])))
        assert sum(column.count(k) > 1 for k in set(column)) >= len(set(column)) - 1
    assert not set(games.CROSSED) & set(games.KINDS)
    for name, parents in games.HYBRIDS.items():
        assert all(games.CROSSED[name] != kind for kind in games.KINDS.values()) and len(set(parents.values())) == 2


def test_pictures_of_the_game_lack_any_number_of_deciding_parts():
    missing = [missing_parts(GAME, "kind-01", seed) for seed in range(1200)]
    counts = np.bincount([len(m) for m in missing], minlength=6) / 1200
    assert set().union(*missing) == set(games.DECIDING) and 0.52 < counts[0] < 0.64
    assert (counts[1:] > 0.05).all() and counts[1:].max() < 0.12


def test_shares_of_the_game_are_means_over_all_orders():
    for kind in ("kind-01", "kind-13"):
        code, gained = games.CODES[kind], dict.fromkeys(games.DECIDING, 0.0)
        fitting = lambda seen: [c for c in games.CODES.values() if all(c[i] == code[i] for i in seen)]
        orders = list(permutations(range(5)))
        for order in orders:
            for n, i in enumerate(order):
                ratio = len(fitting(order[:n])) / len(fitting(order[: n + 1]))
                gained[games.DECIDING[i]] += np.log(ratio) / len(orders)
        shares = games.shares(kind)
        assert shares == pytest.approx(gained) and sum(shares.values()) == pytest.approx(np.log(20))


def test_the_seed_picks_a_breed_and_naming_it_changes_nothing():
    picked = {render(PETS, "cat", seed, size=32).fine for seed in range(30)}
    assert picked == set(DATA_SETS[PETS].fine["cat"])
    free = render(PETS, "cat", 8, size=64)
    named = render(PETS, "cat", 8, size=64, fine=free.fine)
    assert np.array_equal(free.picture, named.picture)


def test_backgrounds_do_not_depend_on_the_class():
    corner = {}
    for species in DATA_SETS[WILD].classes[:4]:
        drawings = [render(WILD, species, seed, size=64) for seed in range(12)]
        corner[species] = np.array([np.where(d.parts[:2, :2, None] > 0, -1, d.picture[:2, :2]) for d in drawings])
    first, *rest = corner.values()
    for other in rest:
        clear = (first >= 0) & (other >= 0)
        assert clear.mean() > 0.8
        assert np.array_equal(first[clear], other[clear])
    assert first.std(0).mean() > 15  # and yet they vary from seed to seed


def test_missing_parts_are_rare_reproducible_and_leave_something_to_see():
    for data_set, species in (
        (PETS, "cat"),
        (WILD, "pig"),
        ("menagerie-flowers", "daisy"),
        ("menagerie-leaves", "oak"),
    ):
        missing = [missing_parts(data_set, species, seed) for seed in range(800)]
        assert missing == [missing_parts(data_set, species, seed) for seed in range(800)]
        assert 0.12 < np.mean([bool(m) for m in missing]) < 0.18
        assert set().union(*missing) <= set(parts_of(data_set, species)) - {"petal", "blade"}
        assert not any({"head", "body"} <= m for m in missing)
        assert all({"ear", "eye", "nose"} <= m for m in missing if "head" in m)
        assert render(data_set, species, 0, size=64, remove=next(m for m in missing if m)).parts.any()


# what is given, and a word of the remedy
WRONG = [("data_set", "menagerie-fish", PETS), ("species", "lion", "cat"), ("fine", "beagle", "tabby")]
WRONG += [("remove", {"wing"}, "ear"), ("remove", "ear", "collection")]
WRONG += [("size", 31, "32"), ("size", 64.0, "32"), ("seed", -1, "0")]


@pytest.mark.parametrize("argument, value, remedy", WRONG)
def test_wrong_arguments_are_named(argument, value, remedy):
    with pytest.raises(ValueError) as error:
        render(**{"data_set": PETS, "species": "cat", "seed": 0} | {argument: value})
    named = value if isinstance(value, set) else [str(value)]
    assert all(word in str(error.value) for word in (argument, *named, remedy)), error.value
    with pytest.raises(ValueError, match="species 'lion'"):
        missing_parts(PETS, "lion", 0)
    with pytest.raises(ValueError, match="data_set 'x'"):
        parts_of("x", "lion")
