"""Names of files and folders: one for one thing, another for another."""

import pytest

from asxai import paths


@pytest.mark.parametrize("name", ["menagerie-pets", "10_concepts_cat", "mütter", "photos-4d75527f", "x" * 60, "-p"])
def test_a_tidy_name_stays_as_it_is(name):
    assert paths.slug(name) == name


@pytest.mark.parametrize(
    "one, other",
    [
        ("C++", "C#"),
        ("/a/photos", "/b/photos"),
        ("/a/photos", "photos"),
        ("/a/menagerie-pets", "menagerie-pets"),
        ("/a b/x", "/a-b/x"),
        ("~root", "-root"),
        ("x" * 80, "x" * 81),
    ],
)
def test_different_things_are_called_differently(one, other):
    assert paths.slug(one) != paths.slug(other)
    for name in (paths.slug(one), paths.slug(other)):
        assert paths.slug(name) == name and len(name) < 70 and "/" not in name


def test_one_place_has_one_name(tmp_path, monkeypatch):
    """However it is written, and wherever the checkout lies; what lies in data/ is known by its name alone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    written = [folder, f"{folder}/", "./photos", "~/photos", "/" + str(folder), tmp_path / "x" / ".." / "photos"]
    assert len({paths.slug(name) for name in written}) == 1
    assert paths.slug(tmp_path / "link").split("-")[1] == paths.slug(folder).split("-")[1]
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    here = paths.slug(tmp_path / "x" / "photos")
    monkeypatch.setattr(paths, "ROOT", tmp_path / "moved")
    assert paths.slug(tmp_path / "moved" / "x" / "photos") == here
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert paths.slug(folder) == "photos"
