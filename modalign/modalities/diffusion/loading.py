"""From a hub id or folder of a diffusers pipeline to its denoiser and its frozen parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.diffusion.config_file import ConfigFile, read_config
from modalign.modalities.diffusion.family import DiffusionFamily
from modalign.modalities.diffusion.fingerprint import text_part_names
from modalign.modalities.diffusion.layouts import converted, published
from modalign.modalities.diffusion.own_pipelines import INDEX, class_name, has_own_code, own_pipeline
from modalign.modalities.explained import explained

Dtype = Literal["float32", "bfloat16", "float16", "float64"]

KindT = TypeVar("KindT", bound=DiffusionFamily)

LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True)
class PipelineSource:
    """A diffusers pipeline, and how its weights are loaded.

    Args:
        model: Hub id or local folder.
        revision: Branch, tag or commit of a hub id.
        variant: Of the weight files, such as "fp16".
        dtype: Of the denoiser's weights.
        encoder_dtype: Of the frozen parts' weights; in float16, a VAE that overflows there stays in float32.
    """

    model: str
    revision: str | None = None
    variant: str | None = None
    dtype: Dtype = "float32"
    encoder_dtype: Dtype = "float32"

    def index(self) -> Mapping[str, Any]:
        """The content of model_index.json: the pipeline's class and each part's library and class.

        Raises:
            UserError: This is no diffusers pipeline.
        """
        return self._json(INDEX)

    def config(self, part: str) -> Mapping[str, Any]:
        """The configuration of a model in the pipeline.

        Raises:
            UserError: The pipeline has no such part.
        """
        if (self.index().get(part) or [None])[0] is None:
            raise UserError(
                f"The pipeline {self.model!r} has no {part}: model_index.json names none.", "Name a complete pipeline."
            )
        return self._json(f"{part}/config.json")

    def scheduler(self) -> Mapping[str, Any]:
        """The configuration of the scheduler."""
        return self._json("scheduler/scheduler_config.json")

    def arguments(self) -> dict[str, Any]:
        """What `from_pretrained` is told beside a dtype: weights from safetensors alone, which hold no code."""
        return {"revision": self.revision, "variant": self.variant, "use_safetensors": True}

    def resolved(self) -> str:
        """The folder, or the hub id; for a model in a published layout, the folder that it was converted into.

        Raises:
            UserError: There is no such folder, or it holds no pipeline.
        """
        found = published(self.model, self.revision, INDEX)
        if found is None:
            return resolve_model(self.model, (INDEX,), self.revision)
        if self.variant is not None:
            raise UserError(
                f"modality.variant is {self.variant!r}, and {self.model!r} is in {found[0].name}'s own layout, which "
                "has no variants.",
                "Leave it out.",
            )
        return str(converted(*found))

    def _json(self, file: str) -> ConfigFile:
        place = self.resolved()
        if Path(place).is_dir():
            path = Path(place) / file
        else:
            from huggingface_hub import hf_hub_download

            with explained(f"{file} of {self.model!r}"):
                path = Path(hf_hub_download(place, file, revision=self.revision))
        with explained(f"{file} of {self.model!r}"):
            return read_config(path, f"{file} of {self.model!r}")


def check_family_name(name: str | None) -> None:
    """Refuse a family that nobody registered, without importing any.

    Raises:
        UserError: The message offers the nearest names.
    """
    from modalign.plugins.manager import registry

    if name is not None:
        registry().entry("family", name)


def pipeline_class(source: PipelineSource) -> Any:
    """The class that a pipeline was saved as: a registered family's own, or diffusers'.

    Raises:
        UserError: There is none of its name.
    """
    import diffusers

    index = source.index()
    name, target = class_name(index), own_target(source)
    if target is not None:
        return own_pipeline(target)
    found = getattr(diffusers, name, None)
    if has_own_code(index) or not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise UserError(
            f"{source.model!r} is a {name}, which is no pipeline of diffusers {diffusers.__version__}.",
            "Code of a repository's own is not run; name a pipeline of diffusers' own classes, or install a diffusers "
            "that has this one.",
        )
    return found


def own_target(source: PipelineSource) -> str | None:
    """Where the class of a pipeline is that diffusers lacks and a registered family has; None for one of diffusers."""
    name = class_name(source.index())
    return next((each.own_pipelines[name] for each in _families()[0] if name in each.own_pipelines), None)


def _families() -> tuple[list[type[DiffusionFamily]], list[str]]:
    """All registered families, and why others cannot be imported."""
    from modalign.plugins.manager import registry

    found, problems = list[type[DiffusionFamily]](), list[str]()
    for name in registry().names("family"):
        try:
            found.append(registry().load("family", name))
        except UserError as error:
            problems.append(error.message)
    return found, problems


def family_class(source: PipelineSource, family: str | None = None) -> type[DiffusionFamily]:
    """The family that serves this pipeline's class, or the one that is named.

    Raises:
        UserError: No family serves it, none is called so, or diffusers has no such pipeline.
    """
    from modalign.plugins.manager import registry

    if family is not None:
        named: type[DiffusionFamily] = registry().load("family", family)
        return named
    pipeline, (families, problems) = class_name(source.index()), _families()
    for each in families:
        if pipeline in each.pipelines:
            return each
    served = sorted(name for each in families for name in each.pipelines)
    pipeline_class(source)
    raise UserError(
        f"{source.model!r} is a {pipeline}, which no family of models serves; served are {', '.join(served)}."
        + "".join(f" Set aside: {problem}." for problem in problems),
        "If it is built like one of them, name it in modality.family; else write a family in a plugin.",
    )


def family_of_kind(source: PipelineSource, family: str | None, kind: type[KindT], media: str) -> type[KindT]:
    """The family of a pipeline, where it is one of a modality's own.

    Args:
        source: Of the pipeline.
        family: The registered family that is named; None for the one that serves the pipeline's class.
        kind: What the modality's families have in common.
        media: What they make, for the message.

    Raises:
        UserError: The family makes something else, or there is none.
    """
    found = family_class(source, family)
    if not issubclass(found, kind):
        raise UserError(
            f"{source.model!r} is of the family {found.__name__}, which makes no {media}.",
            f"Name a model of {media}, or the modality that this model is of.",
        )
    return found


def load_family(source: PipelineSource, family: str | None = None, guidance: float | None = None) -> DiffusionFamily:
    """The pipeline without its denoiser, in its family's adapter; its weights are frozen and in evaluation mode.

    Raises:
        UserError: The pipeline cannot be found or loaded, or is of no known family.
    """
    chosen, index, built = family_class(source, family), source.index(), pipeline_class(source)
    denoiser_config = source.config(chosen.denoiser_part)
    chosen.check(index, denoiser_config)
    with explained(f"the pipeline {source.model!r}"):
        pipeline = built.from_pretrained(
            source.resolved(),
            dtype=_encoder_dtypes(source, index),
            **(dict.fromkeys(_left_out(chosen, index, built)) | _stand_in(chosen, index, denoiser_config)),
            # Without it, Stable Diffusion warns of its safety checker, which only pictures shown to people need.
            **({"requires_safety_checker": False} if "requires_safety_checker" in index else {}),
            **source.arguments(),
        )
    setattr(pipeline, chosen.denoiser_part, None)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    return chosen(pipeline, denoiser_config, guidance)


def load_denoiser(source: PipelineSource, family: str | None = None) -> Any:
    """The denoiser alone, on the CPU.

    Raises:
        UserError: The pipeline cannot be found or loaded, or is of no known family.
    """
    import diffusers

    chosen, index = family_class(source, family), source.index()
    part = chosen.denoiser_part
    chosen.check(index, source.config(part))
    library, name = index[part]
    # Some of diffusers' pipelines have models of their own, whose library they call by the pipeline's module.
    known = library == "diffusers" or hasattr(diffusers.pipelines, library)
    model_class = getattr(diffusers, name, None) if known else None
    if model_class is None:
        raise UserError(
            f"The {part} of {source.model!r} is a {library}.{name}, which diffusers does not have.",
            "Code of a repository's own is not run; name a pipeline of diffusers' own classes.",
        )
    with explained(f"the {part} of {source.model!r}"):
        denoiser, report = model_class.from_pretrained(
            source.resolved(),
            subfolder=part,
            dtype=getattr(torch, source.dtype),
            output_loading_info=True,
            **source.arguments(),
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{source.model!r} lacks {len(missing)} of the {part}'s weights, among them {', '.join(missing[:3])}.",
            "Name a complete pipeline.",
        )
    return denoiser


def _encoder_dtypes(source: PipelineSource, index: Mapping[str, Any]) -> dict[str, torch.dtype]:
    """What diffusers is told of the frozen parts' types; a VAE that says it overflows in float16 stays in float32."""
    dtype = getattr(torch, source.encoder_dtype)
    overflows = (index.get("vae") or [None])[0] is not None and source.config("vae").get("force_upcast", True)
    keep = dtype == torch.float16 and overflows
    return {"default": dtype, **({"vae": torch.float32} if keep else {})}


def _stand_in(family: type[DiffusionFamily], index: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A denoiser without weights, by its name, for pipelines that read its configuration as they are made."""
    import diffusers

    if not family.reads_denoiser:
        return {}
    part = family.denoiser_part
    with torch.device("meta"):
        return {part: getattr(diffusers, index[part][1]).from_config(dict(config))}


def _left_out(family: type[DiffusionFamily], index: Mapping[str, Any], built: Any) -> set[str]:
    """The denoiser, parts that the family has no use for, and parts that the pipeline was saved without.

    diffusers wants to be told of the last ones too.
    """
    needed = {*family.media_parts, *text_part_names(family.text_parts)}
    parts = {name: value for name, value in index.items() if isinstance(value, list)}
    absent = {name for name, value in parts.items() if value[0] is None}
    return absent | {family.denoiser_part} | (parts.keys() & set(built._optional_components) - needed)
