"""What every parser of this program has in common."""

from jsonargparse import set_parsing_settings

from modalign.commands import class_change, short_names


def prepare_parsing() -> None:
    """Set jsonargparse up: short names, no silent inheritance between classes, no object from an untyped value."""
    short_names.install()
    class_change.install()
    # Without this, a parameter of type Any would build whatever class a config names.
    set_parsing_settings(instantiate_subclass_spec_in_any=False)
