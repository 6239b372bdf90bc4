"""What the package adds; modalign imports the targets when they are used."""

from modalign import hookimpl


@hookimpl
def modalign_register_objectives(register):
    register("exponential", "modalign_vowels.objective:Exponential", summary="exponential loss of the margin")


@hookimpl
def modalign_register_formats(register):
    register("two_answers", "modalign_vowels.format:TwoAnswers", summary="question, two answers and which is better")


@hookimpl
def modalign_register_rewards(register):
    register("vowels", "modalign_vowels.reward:Vowels", summary="share of vowels among the letters")


@hookimpl
def modalign_register_families(register):
    register("lumina2", "modalign_vowels.family:Lumina2", summary="Lumina-Image 2.0")
    register("audioldm", "modalign_vowels.audio_family:AudioLdm", summary="AudioLDM")


@hookimpl
def modalign_register_image_variants(register):
    register("mirrored", "modalign_vowels.variant:Mirrored", summary="the picture as a mirror shows it")


@hookimpl
def modalign_register_audio_variants(register):
    register("backwards", "modalign_vowels.audio_variant:Backwards", summary="the sound played backwards")


@hookimpl
def modalign_register_tasks(register):
    register("vowel_share", "modalign_vowels.task:VowelShare", summary="share of vowels in answers to questions")
