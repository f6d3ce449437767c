import pytest

from forecast.store.config import StoreConfig


def test_a_file_is_read_and_what_is_given_beside_it_wins(tmp_path):
    file = tmp_path / "store.yaml"
    file.write_text("max_versions: 3\nkeep_best_by: mase\nversion_format: number\nbackups: 5\n")
    config = StoreConfig.read(file, {"max_versions": "4"}, root=tmp_path / "models")
    assert (config.max_versions, config.keep_best_by, config.backups) == (4, "mase", 5)
    assert (config.version_format, config.root) == ("number", tmp_path / "models")


def test_the_root_of_a_file_wins_over_the_usual_one(tmp_path):
    (tmp_path / "store.yaml").write_text(f"root: {tmp_path / 'here'}\n")
    config = StoreConfig.read(tmp_path / "store.yaml", root=tmp_path / "there")
    assert config.root == tmp_path / "here"


def test_an_empty_file_and_none_mean_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").touch()
    expected = StoreConfig(root=tmp_path)
    assert StoreConfig.read(tmp_path / "empty.yaml", root=tmp_path) == expected
    assert StoreConfig.read(None, root=tmp_path) == expected


@pytest.mark.parametrize("text", ["none", "", "null"])
def test_a_variable_of_the_environment_can_lift_a_limit(tmp_path, text):
    assert StoreConfig.read(None, {"max_versions": text}, root=tmp_path).max_versions is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_version: 3", "max_version: Extra"),
        ("max_versions: 0", "max_versions: .*greater"),
        ("max_versions: [", "no YAML"),
        ("- a\n- b", "names and values"),
        ("version_format: name", "version_format"),
        ("versions_folder: ../up", "versions_folder must be one plain name"),
        ("versions_folder: .hidden", "versions_folder must be one plain name"),
        ("backups_folder: current", "backups_folder must be one plain name"),
        ("snapshots_folder: versions", "must differ"),
        ("!!python/object/apply:os.getcwd []", "no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path, text, words):
    (tmp_path / "store.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        StoreConfig.read(tmp_path / "store.yaml", root=tmp_path)


def test_a_missing_file_and_a_missing_root_are_said(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.yaml cannot be read: No such file"):
        StoreConfig.read(tmp_path / "absent.yaml", root=tmp_path)
    with pytest.raises(ValueError, match="root: Field required"):
        StoreConfig.read(None)
