"""The built-in tasks of no one modality."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_tasks(register: Register) -> None:
    register(
        "preference",
        "modalign.plugins.tasks.preference:PreferenceAccuracy",
        summary="Share of held-out comparisons in which the chosen response is the likelier",
    )
