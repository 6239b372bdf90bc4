import subprocess
import sys

from modalign.core.format import Format
from modalign.plugins.manager import registry

NAMES = {"auto", "columns", "demonstration", "hh_rlhf", "ranked", "trl_preference", "unpaired"}


def test_every_format_is_registered_under_its_own_name_and_says_what_it_wants():
    assert set(registry().names("format")) >= NAMES
    for name in NAMES:
        kind = registry().load("format", name)
        assert issubclass(kind, Format)
        assert kind.name == name
        assert kind.wants


def test_the_plugin_itself_is_light():
    code = "import sys, modalign.plugins.formats.plugin; sys.exit('torch' in sys.modules or 'datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
