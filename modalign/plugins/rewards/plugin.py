"""The built-in rewards, registered like any plugin's."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_rewards(register: Register) -> None:
    register("length", "modalign.plugins.rewards.length:Length", summary="nearness of a text's length to a target")
    register("pattern", "modalign.plugins.rewards.pattern:Pattern", summary="a regular expression found, or not")
