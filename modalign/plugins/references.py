"""The built-in sources of reference likelihoods, registered like any plugin's."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_references(register: Register) -> None:
    home = "modalign.core.reference"
    register("none", f"{home}:NoReference", summary="no reference (SimPO, ORPO, CPO, SFT)")
    register("frozen", f"{home}:FrozenReference", summary="a frozen copy of the policy, or another model")
    register("adapter", f"{home}:AdapterReference", summary="the policy with its adapter switched off")
    register("cached", f"{home}:CachedReference", summary="log-probabilities computed once and kept on disk")
    register("moving", f"{home}:MovingReference", summary="a copy that follows the policy (TR-DPO)")
