"""Registers the modalities of sound: families of diffusion models, audio variants, formats, rewards and tasks."""

from modalign.plugins.hookspecs import Register, hookimpl

_HOME = "modalign.modalities.audio"
_EXTRA = "audio"


@hookimpl
def modalign_register_modalities(register: Register) -> None:
    register(
        "audio",
        f"{_HOME}.modality:Audio",
        summary="Diffusion and flow models of sound: Tango, AudioLDM 2, Stable Audio, TangoFlux, in full or by LoRA",
        extra=_EXTRA,
    )
    register(
        "audio_tokens",
        f"{_HOME}.tokens.modality:AudioTokens",
        summary="Language models of codec tokens that make sound of text: MusicGen, Dia, in full or by LoRA",
        extra=_EXTRA,
    )
    register(
        "audio_language",
        f"{_HOME}.language.modality:AudioLanguage",
        summary="Models that answer prompts with sounds, such as Qwen2-Audio, in full or by LoRA",
        extra=_EXTRA,
    )


@hookimpl
def modalign_register_families(register: Register) -> None:
    families = f"{_HOME}.families"
    register("tango", f"{families}.tango:Tango", summary="Tango, Tango 2: T5, a UNet over mel latents", extra=_EXTRA)
    register("audioldm2", f"{families}.audioldm2:AudioLdm2", summary="AudioLDM 2", extra=_EXTRA)
    register("stable_audio", f"{families}.stable_audio:StableAudio", summary="Stable Audio Open", extra=_EXTRA)
    register("stable_audio_3", f"{families}.stable_audio_3:StableAudio3", summary="Stable Audio 3", extra=_EXTRA)
    register("longcat_audio", f"{families}.longcat_audio:LongCatAudio", summary="LongCat-AudioDiT", extra=_EXTRA)
    register("ace_step", f"{families}.ace_step:AceStep", summary="ACE-Step 1.5: music", extra=_EXTRA)
    register("tangoflux", f"{families}.tangoflux:TangoFlux", summary="TangoFlux: a flow transformer", extra=_EXTRA)


@hookimpl
def modalign_register_token_families(register: Register) -> None:
    families = f"{_HOME}.tokens.families"
    register("musicgen", f"{families}.musicgen:MusicGen", summary="MusicGen, mono and stereo", extra=_EXTRA)
    register("dia", f"{families}.dia:Dia", summary="Dia: dialogues of speech", extra=_EXTRA)


@hookimpl
def modalign_register_audio_variants(register: Register) -> None:
    variants = f"{_HOME}.variants"
    register("other_clip", f"{variants}.other_clip:OtherClip", summary="The sound of another row, or the data's own")
    register("noised", f"{variants}.noised:Noised", summary="White noise at a chosen ratio to the sound", extra=_EXTRA)
    register("silent", f"{variants}.silent:Silent", summary="As long, without any sound", extra=_EXTRA)


@hookimpl
def modalign_register_formats(register: Register) -> None:
    formats = f"{_HOME}.formats"
    register(
        "audio_pairs", f"{formats}.audio_pairs:AudioPairs", summary="audio-alpaca: prompt, chosen, rejected sounds"
    )
    register("audio_ranked", f"{formats}.audio_ranked:AudioRanked", summary="prompt, sounds with scores or ranks")
    register("audio_thumbs", f"{formats}.audio_thumbs:AudioThumbs", summary="prompt, sound, label: thumbs up or down")
    register("audio_captions", f"{formats}.audio_captions:AudioCaptions", summary="prompt, sound: for sft")
    register(
        "heard_preference",
        f"{formats}.heard_preference:HeardPreference",
        summary="prompt with sounds, chosen and rejected answers",
    )
    register(
        "heard_demonstration",
        f"{formats}.heard_demonstration:HeardDemonstration",
        summary="Answers to prompts with sounds: for sft",
    )
    register(
        "heard_unpaired",
        f"{formats}.heard_unpaired:HeardUnpaired",
        summary="Single answers to prompts with sounds, with a good-or-bad label",
    )


@hookimpl
def modalign_register_rewards(register: Register) -> None:
    rewards = f"{_HOME}.rewards"
    register("clap_score", f"{rewards}.clap_score:ClapScore", summary="CLAP's agreement with the prompt", extra=_EXTRA)
    register(
        "audiobox_aesthetics",
        f"{rewards}.audiobox_aesthetics:AudioboxAesthetics",
        summary="Learned heads: enjoyment, usefulness, complexity, quality",
        extra="audio-rewards",
    )
    register("loudness", f"{rewards}.loudness:Loudness", summary="Nearness to a loudness in LUFS", extra=_EXTRA)
    register("clipping", f"{rewards}.samples:Clipping", summary="Minus the share of clipped samples", extra=_EXTRA)
    register("silence", f"{rewards}.samples:Silence", summary="Minus the share of silent frames", extra=_EXTRA)
    register("duration", f"{rewards}.samples:Duration", summary="Minus the error of the length", extra=_EXTRA)
    register("snr", f"{rewards}.noise:Snr", summary="Signal to noise in decibels", extra=_EXTRA)
    register("spectral_centroid", f"{rewards}.spectrum:SpectralCentroid", summary="Brightness in hertz", extra=_EXTRA)
    register("spectral_flatness", f"{rewards}.spectrum:SpectralFlatness", summary="Noise 1, tones 0", extra=_EXTRA)
    register("event_order", f"{rewards}.event_order:EventOrder", summary="Events in the prompt's order", extra=_EXTRA)


@hookimpl
def modalign_register_tasks(register: Register) -> None:
    tasks = f"{_HOME}.tasks"
    register("audio", f"{tasks}.audio:AudioSets", summary="Frechet audio distance and KL of two folders", extra=_EXTRA)
