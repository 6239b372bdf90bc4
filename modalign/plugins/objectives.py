"""The built-in objectives, registered by the same hook as anyone's."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_objectives(register: Register) -> None:
    """Register every objective of `modalign.core.objectives`."""
    home = "modalign.core.objectives"
    register("sft", f"{home}.sft:Sft", summary="likelihood of the chosen response")
    register("dpo", f"{home}.pairwise:Dpo", summary="DPO; with label smoothing, conservative DPO")
    register("robust_dpo", f"{home}.pairwise:RobustDpo", summary="DPO made unbiased for labels that may be wrong")
    register("ipo", f"{home}.pairwise:Ipo", summary="IPO: regression of the margin onto a target")
    register("hinge", f"{home}.pairwise:Hinge", summary="hinge loss of the reference-normalised margin (RSO)")
    register("simpo", f"{home}.reference_free:SimPo", summary="SimPO: mean log-probabilities against a target margin")
    register("orpo", f"{home}.reference_free:Orpo", summary="ORPO: likelihood and log-odds ratio, no reference")
    register("cpo", f"{home}.reference_free:Cpo", summary="CPO: contrast and likelihood, no reference")
    register("mapo", f"{home}.mapo:MaPo", summary="MaPO: likelihood and a margin of bounded scores, no reference")
    register("kto", f"{home}.pointwise:Kto", summary="KTO: single responses labelled good or bad")
    register("bco", f"{home}.pointwise:Bco", summary="BCO: a classifier of good and bad responses")
    register("rankdpo", f"{home}.listwise:RankDpo", summary="RankDPO: ranked lists, weighted by gain and rank")
    register("lc_dpo", f"{home}.length:LcDpo", summary="R-DPO (LC-DPO): DPO with a price on length")
    register("mm_dpo", f"{home}.scaled:MmDpo", summary="MM-DPO: beta grows with the data's reward margin")
    register("dense_dpo", f"{home}.dense:DenseDpo", summary="RLHF-V's DDPO: corrected segments weigh more")
    register("rdpo_visual", f"{home}.visual:RdpoVisual", summary="Re-Align's rDPO: pairs of responses and of images")
    register("mdpo", f"{home}.visual:MDpo", summary="mDPO: rDPO with an anchor on the chosen response")
    register("symmpo", f"{home}.symmetric:SymMpo", summary="SymMPO: two images, each with its own answer")
    register("vdpo", f"{home}.guided:VDpo", summary="V-DPO: likelihoods guided away from those without the image")
    register("povid", f"{home}.distracted:Povid", summary="POVID: what a noised image makes the policy say is rejected")
    register("sum", f"{home}.weighted_sum:WeightedSum", summary="weighted sum of objectives")
