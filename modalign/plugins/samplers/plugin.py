"""The built-in samplers, registered like any plugin's."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_samplers(register: Register) -> None:
    home = "modalign.plugins.samplers"
    register("single", f"{home}.single:Single", summary="one response a prompt, as the model draws it")
    register("best_of_n", f"{home}.best_of_n:BestOfN", summary="the best of n responses by a reward")
