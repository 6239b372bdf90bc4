import subprocess
import sys

import pytest

from modalign.plugins.manager import registry

FORMATS = [name for name in registry().names("format") if name.startswith("image_") or name in ("pick_a_pic", "hpd")]


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_images_are_registered_under_their_own_names_and_say_what_they_want(name):
    kind = registry().load("format", name)
    assert kind.name == name
    assert kind.wants
    assert kind.modalities == {"image"}
    assert kind().wants


def test_all_of_them_are_there():
    assert set(FORMATS) == {
        "hpd",
        "image_captions",
        "image_pairs",
        "image_ranked",
        "image_reward_db",
        "image_thumbs",
        "pick_a_pic",
    }


def test_formats_and_sources_of_images_import_no_image_library():
    modules = [f"modalign.modalities.image.formats.{name}" for name in FORMATS]
    code = (
        f"import sys, {', '.join(modules)}; sys.exit(bool({{'PIL', 'diffusers', 'transformers'}} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rewards_import_no_image_library_before_they_are_used():
    modules = "modalign.modalities.image.rewards.pixels, modalign.modalities.image.rewards.clip_score"
    code = f"import sys, {modules}; sys.exit(bool({{'open_clip', 'transformers', 'torchvision'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
