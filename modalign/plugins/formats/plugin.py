"""The built-in data formats."""

from modalign.plugins.hookspecs import Register, hookimpl

_HERE = "modalign.plugins.formats"


@hookimpl
def modalign_register_formats(register: Register) -> None:
    register("auto", f"{_HERE}.auto:AutoFormat", summary="chosen by the columns of the data")
    register("columns", f"{_HERE}.columns:ColumnsFormat", summary="any schema, by naming its columns")
    register("trl_preference", f"{_HERE}.trl_preference:TrlPreference", summary="pairs as TRL has them, text or chat")
    register("hh_rlhf", f"{_HERE}.hh_rlhf:HhRlhf", summary="pairs of Human/Assistant transcripts, as in HH-RLHF")
    register("unpaired", f"{_HERE}.unpaired:Unpaired", summary="single responses with a good-or-bad label")
    register("demonstration", f"{_HERE}.demonstration:Demonstration", summary="responses to imitate: SFT data")
    register("ranked", f"{_HERE}.ranked:Ranked", summary="several responses with scores, as in UltraFeedback")
