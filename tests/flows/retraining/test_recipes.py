"""Recipes and weights of a retraining by the settings, the keys of trainings, and refusals before anything is trained."""

import time

import pytest

from flows.retrain import retrain
from flows.retraining.recipes import FUSED, choose_recipes, plan_trainings, pretraining_folder, training_key
from flows.settings import SIZES, Settings, load_settings
from flows.workspace import Workspace
from vitau.errors import CheckpointError, TrainingError
from vitau.store import sha256_of
from vitau.training.recipes import find_recipe

SNAPSHOT = "5" * 64


@pytest.fixture
def make_workspace(tmp_path):
    """Return a function from settings to a workspace."""
    made = []

    def make(**settings) -> Workspace:
        given = {
            "store": (tmp_path / "store").as_uri(),
            "catalog": f"sqlite:///{tmp_path / 'catalog.db'}",
            "signing_key": "a key of these tests alone",
            "label_studio_url": "http://127.0.0.1:1",
            "label_studio_token": "none",
            "mlflow_url": "http://127.0.0.1:1",
        }
        made.append(Workspace(Settings(**given, **settings)))
        return made[-1]

    yield make
    for workspace in made:
        workspace.catalog.engine.dispose()


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ("tiny-palsy", "99928fd44e4ea3fd"),
        ("tiny-regions", "b6fd79ff219d28aa"),
        ("base-regions", "90d222e33a56f0b6"),
        ("tiny-sided", "ac8b11a590ad115b"),
    ],
)
def test_existing_states_find_their_trainings(recipe, key):
    """The key is a digest of the recipe's repr: renaming a field of a configuration would train every model again."""
    assert training_key(recipe, SNAPSHOT) == key


def test_an_unknown_size_is_one_sentence_before_anything_is_trained(make_workspace):
    with pytest.raises(ValueError, match="there is no recipe size huge: choose one of tiny, "):
        retrain.fn(SNAPSHOT, "huge", settings=make_workspace().settings)


@pytest.mark.parametrize("size", ["base", "paper"])
def test_a_training_that_needs_public_weights_is_refused_at_once_without_them(make_workspace, size, tmp_path):
    started = time.monotonic()
    with pytest.raises(TrainingError, match=f"recipe {size}-palsy starts from timm's weights of vit_.*_patch16_224, and none"):
        retrain.fn(SNAPSHOT, size, settings=make_workspace().settings)
    (tmp_path / "vit.pth").write_bytes(b"a backbone")
    workspace = make_workspace(weights_palsy=(str(tmp_path / "vit.pth"),))
    with pytest.raises(TrainingError, match=r"pSp's and StyleGAN2's public checkpoints, and none .*VITAU_WEIGHTS_REGIONS"):
        plan_trainings(workspace, size, SNAPSHOT)
    workspace = make_workspace(weights_palsy=(str(tmp_path / "vit.pth"),), weights_regions=("store:weights/psp.pt",))
    with pytest.raises(CheckpointError, match=r"there are no weights at store:weights/psp\.pt"):
        plan_trainings(workspace, size, SNAPSHOT)
    assert time.monotonic() - started < 10


def test_the_key_of_a_training_depends_on_the_bytes_of_its_weights_and_not_on_their_place(make_workspace, tmp_path):
    for name, content in (("vit.pth", b"one"), ("copy.pth", b"one"), ("other.pth", b"two"), ("psp.pt", b"three")):
        (tmp_path / name).write_bytes(content)

    def keys(vit):
        workspace = make_workspace(weights_palsy=(str(tmp_path / vit),), weights_regions=(str(tmp_path / "psp.pt"),))
        return {model: planned.key for model, planned in plan_trainings(workspace, "base", SNAPSHOT).items()}

    assert keys("vit.pth") == keys("copy.pth")
    assert keys("vit.pth")["vitau-palsy"] != keys("other.pth")["vitau-palsy"]
    assert keys("vit.pth")["vitau-regions"] == keys("other.pth")["vitau-regions"]
    expected = training_key("base-palsy", SNAPSHOT, [sha256_of(b"one")])
    assert keys("vit.pth")["vitau-palsy"] == expected != training_key("base-palsy", SNAPSHOT)


def test_settings_choose_backbone_and_regions(make_workspace, tmp_path):
    (tmp_path / "any.pth").write_bytes(b"weights")
    weights = (str(tmp_path / "any.pth"),)
    brought = {"weights_palsy": weights, "weights_regions": weights}

    def recipes(size, **settings):
        return [planned.recipe for planned in plan_trainings(make_workspace(**settings), size, SNAPSHOT).values()]

    dino = "vit_base_patch14_dinov2"
    assert recipes("base", **brought, backbone=dino, regions="paired") == [f"base-palsy@{dino}", "base-regions"]
    assert recipes("paper", **brought, regions="fgnet") == ["paper-palsy", "paper-fgnet"]
    planned = plan_trainings(make_workspace(**brought), "tiny", SNAPSHOT)
    assert {training.weights for training in planned.values()} == {()}, "pretrained on drawn people"
    with pytest.raises(TrainingError, match="FG-Net's checkpoint has the size of the paper's model, not base"):
        recipes("base", **brought, regions="fgnet")
    with pytest.raises(TrainingError, match="recipe tiny-palsy has no backbone of timm's to replace"):
        recipes("tiny", backbone=dino)


@pytest.mark.parametrize("size", SIZES)
def test_the_region_model_of_every_size_names_the_side_unless_the_settings_choose_the_papers(make_workspace, size):
    def regions(**settings):
        return choose_recipes(make_workspace(**settings).settings, size)["vitau-regions"]

    assert find_recipe(regions()).sided
    movement = "+movement" if size in FUSED else ""
    assert regions() == f"{size}-sided{movement}"
    assert regions(regions="paired") == f"{size}-regions{movement}"
    assert not find_recipe(regions(regions="paired")).sided


@pytest.mark.parametrize(
    ("setting", "confounded", "camera"),
    [("auto", False, ""), ("auto", True, "+camera"), ("always", False, "+camera"), ("never", True, "")],
)
def test_the_camera_is_changed_where_the_recordings_separate_the_cohorts(make_workspace, setting, confounded, camera):
    settings = make_workspace(camera_augmentation=setting, movement="off").settings
    assert list(choose_recipes(settings, "tiny", confounded=confounded).values()) == [
        f"tiny-palsy{camera}",
        f"tiny-sided{camera}",
    ]
    dino = settings.model_copy(update={"backbone": "vit_base_patch14_dinov2"})
    assert choose_recipes(dino, "base", confounded=confounded)["vitau-palsy"] == f"base-palsy{camera}@vit_base_patch14_dinov2"
    assert choose_recipes(settings, "paper", confounded=True)["vitau-palsy"] == "paper-palsy", "which has no augmentation"


def test_movement_is_fused_where_the_settings_want_it_and_never_by_the_papers_recipes(make_workspace):
    settings = make_workspace().settings
    assert list(choose_recipes(settings, "tiny").values()) == ["tiny-palsy+movement", "tiny-sided+movement"]
    confounded = choose_recipes(settings, "tiny", confounded=True)
    assert list(confounded.values()) == ["tiny-palsy+movement+camera", "tiny-sided+movement+camera"]
    assert all(find_recipe(name).movement for name in confounded.values())
    assert list(choose_recipes(settings, "paper").values()) == ["paper-palsy", "paper-sided"]
    off = make_workspace(movement="off").settings
    assert list(choose_recipes(off, "tiny").values()) == ["tiny-palsy", "tiny-sided"]
    workspace = make_workspace()
    assert pretraining_folder(workspace, "tiny-palsy+movement") == pretraining_folder(workspace, "tiny-palsy")
    assert training_key("tiny-palsy+movement", SNAPSHOT) != training_key("tiny-palsy", SNAPSHOT)


def test_changes_of_the_camera_are_another_training_from_the_same_pretraining(make_workspace):
    assert training_key("tiny-palsy+camera", SNAPSHOT) != training_key("tiny-palsy", SNAPSHOT)
    workspace = make_workspace()
    assert pretraining_folder(workspace, "tiny-palsy+camera") == pretraining_folder(workspace, "tiny-palsy")


@pytest.mark.parametrize(
    ("text", "sources"),
    [("hub", ("hub",)), ("store:weights/vit.pth", ("store:weights/vit.pth",)), ('["psp.pt", "g.pt"]', ("psp.pt", "g.pt"))],
)
def test_the_environment_gives_one_source_or_a_list(make_workspace, text, sources):
    made = make_workspace().settings
    environment = {
        "VITAU_STORE": made.store,
        "VITAU_CATALOG": "sqlite:///none",
        "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "VITAU_LABEL_STUDIO_TOKEN": "none",
        "VITAU_MLFLOW_URL": "http://127.0.0.1:1",
        "VITAU_WEIGHTS_PALSY": text,
    }
    assert load_settings(environment).weights_palsy == sources
