"""The built-in commands, registered as any plugin's are."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_commands(register: Register) -> None:
    train = "modalign.commands.train"
    register("fit", f"{train}:fit", summary="Train a model on preferences.")
    register("validate", f"{train}:validate", summary="Evaluate on the validation data.")
    register("test", f"{train}:test", summary="Evaluate on the test data.")
    register("predict", f"{train}:predict", summary="Compute likelihoods and implicit rewards row by row.")
    register("check", "modalign.commands.check:main", summary="Build a config, read its data and list every problem.")
    register("cache", "modalign.commands.cache:main", summary="Encode a config's images and prompts ahead, once.")
    register("export", "modalign.commands.export:main", summary="Turn a checkpoint into an ordinary model folder.")
    register("generate", "modalign.commands.generate:main", summary="Answer prompts before and after, side by side.")
    register("eval", "modalign.commands.evaluate:main", summary="Measure a model on a task's local files.")
    register("build", "modalign.commands.build:main", summary="Build preference data: `build realign`, `build tango2`.")
    register("recipes", "modalign.commands.recipes:main", summary="List, show and copy ready configs.")
    register("plugins", "modalign.commands.plugins:main", summary="Show what is registered, by whom, and what failed.")
    register("doctor", "modalign.commands.doctor:main", summary="Check versions, devices and known mismatches.")
    register("quickstart", "modalign.commands.quickstart:main", summary="Align a small model in minutes, offline.")
