"""What every parser of this program has in common."""

from jsonargparse import set_parsing_settings

from modalign.commands import class_change, short_names


def prepare_parsing() -> None:
    """Set jsonargparse up: short names, no silent inheritance between classes, no object from an untyped value."""
    short_names.install()
    class_change.install()
    # Without the first, a parameter of type Any would build whatever class a config names. The second has the list of
    # modules that no config may name (os, subprocess...) enforced, where jsonargparse 4 only warns.
    set_parsing_settings(instantiate_subclass_spec_in_any=False, import_path_denylist=[])
