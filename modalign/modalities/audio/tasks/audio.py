"""`modalign eval audio`: how far folders of generated sounds are from a folder of real ones."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch

from modalign.core.devices import device_of
from modalign.core.errors import ConfigError, UserError
from modalign.core.figures import Figure, Measure, Ratio
from modalign.core.media import Media
from modalign.core.task import FileTask, Row
from modalign.modalities.audio.reading.reader import read_clip
from modalign.modalities.audio.tasks.distances import divergence, frechet_figure, inception_score
from modalign.modalities.audio.tasks.listeners import Classifier, Listener, load_encoder, weighted
from modalign.modalities.audio.tasks.sets import check_pairs, sounds_of, titles

REFERENCE = "reference"


class AudioSets(FileTask):
    """Frechet audio distance of folders of generated sounds to one of real sounds, and KL of sounds of one name.

    The Frechet distance (`FAD`) is of the encoder's vectors, one a window: the mean over time of hidden states, or
    CLAP's own. `KL` is the mean divergence of a generated sound's classes from those of the reference of the same
    name, `KL(reference || generated)` of softmax probabilities (means over windows); `IS` is the inception score.
    Figures of different models, windows or numbers of sounds cannot be compared. With several generated folders, such
    as the `base` and `aligned` of `modalign generate`, what changed from the first to each other is told too.

    Args:
        reference: A folder of real sounds.
        generated: One or more folders of sounds.
        embedder: For FAD: folder or hub id of ClapModel, Wav2Vec2, WavLM, HuBERT, AST, Whisper...
        classifier: For KL and IS: folder or hub id of an audio classification model.
        embedder_revision: Of a hub id.
        classifier_revision: Of a hub id.
        layer: Whose hidden states FAD compares, 0 for what enters the first; the last where it is left out.
        window: Seconds that are heard at once, where the model can.
        jackknife: Parts that are left out in turn for FAD's interval; 0 for none.
        unequal: Whether generated folders may differ in how many sounds they have; the fewer, the larger is FAD.
        batch_size: Sounds whose rows are written together.
        device: Such as cuda:1 or cpu; a GPU where there is one, if left out.
    """

    name = "audio"

    def __init__(
        self,
        reference: Path,
        generated: list[Path],
        embedder: str | None = None,
        classifier: str | None = None,
        embedder_revision: str | None = None,
        classifier_revision: str | None = None,
        layer: int | None = None,
        window: float = 10.0,
        jackknife: int = 10,
        unequal: bool = False,
        batch_size: int = 8,
        device: str | None = None,
    ) -> None:
        if embedder is None and classifier is None:
            raise ConfigError(
                "neither embedder nor classifier is given", "Name one for FAD, the other for KL, or both."
            )
        if embedder is None and (layer is not None or embedder_revision is not None):
            raise ConfigError("layer and embedder_revision have no effect without embedder", "Remove them.")
        if classifier is None and classifier_revision is not None:
            raise ConfigError("classifier_revision has no effect without classifier", "Remove it.")
        if window <= 0 or jackknife < 0 or jackknife == 1 or batch_size < 1:
            raise ConfigError(
                f"window is {window}, jackknife {jackknife}, batch_size {batch_size}",
                "Give a positive window, a jackknife of 0 or at least 2, a batch_size of at least 1.",
            )
        self.reference, self.generated = reference, generated
        self.embedder, self.embedder_revision, self.layer = embedder, embedder_revision, layer
        self.classifier, self.classifier_revision = classifier, classifier_revision
        self.window, self.jackknife, self.unequal = window, jackknife, unequal
        self.batch_size, self.device = batch_size, device_of(device)

    def sets(self) -> dict[str, list[Path]]:
        """The reference, then the generated folders; see `FileTask.sets`."""
        reference = sounds_of(self.reference)
        titles([self.reference, *self.generated])
        names = [f"{name} (generated)" if name == REFERENCE else name for name in titles(self.generated)]
        generated = {name: sounds_of(folder) for name, folder in zip(names, self.generated, strict=True)}
        for name, files in {REFERENCE: reference, **generated}.items():
            if self.embedder is not None and len(files) < 2:
                raise UserError(f"{name} has a single sound", "FAD compares distributions: give more.")
        counts = {name: len(files) for name, files in generated.items()}
        if len(set(counts.values())) > 1 and not self.unequal:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise UserError(
                f"the generated folders have different numbers of sounds: {told}",
                "FAD is larger the fewer there are: give as many of each, or --unequal true.",
            )
        if self.classifier is not None:
            for files in generated.values():
                check_pairs(reference, files)
        return {REFERENCE: reference, **generated}

    def look(self, files: Sequence[Path]) -> list[Row]:
        """Vectors of windows and probabilities of classes; see `FileTask.look`."""
        return [self._row(path) for path in files]

    def measures(self, rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Measure]]:
        """FAD, KL and IS of each generated folder; see `FileTask.measures`."""
        reference = rows[REFERENCE]
        return {name: self._measures(reference, found) for name, found in rows.items() if name != REFERENCE}

    def _row(self, path: Path) -> Row:
        clip = read_clip(Media(str(path)))
        row: dict[str, object] = {"file": path.name, "seconds": clip.seconds}
        if self.embedder is not None:
            windows = self._encoder.windows(clip, self.window)
            row["vectors"] = [self._encoder.hear(window).tolist() for window in windows]
        if self.classifier is not None:
            windows = self._classes.windows(clip, self.window)
            row["classes"] = weighted([self._classes.hear(window) for window in windows], windows).tolist()
        return row

    def _measures(self, reference: Sequence[Row], generated: Sequence[Row]) -> dict[str, Measure]:
        found: dict[str, Measure] = {}
        if self.embedder is not None:
            found["FAD"] = self._fad(reference, generated)
        if self.classifier is not None:
            real = {_stem(row): _doubles(row["classes"]) for row in reference}
            pairs = [(real[_stem(row)], _doubles(row["classes"])) for row in generated]
            # By name, so that what changes between folders is a paired difference where they have the same names.
            found["KL"] = Ratio.mean([divergence(wanted, made) for wanted, made in pairs], list(map(_stem, generated)))
            found["IS"] = inception_score(torch.stack([made for _, made in pairs]))
        return {**found, "sounds": float(len(generated)), "reference sounds": float(len(reference))}

    def _fad(self, reference: Sequence[Row], generated: Sequence[Row]) -> Figure:
        sets = [[_doubles(row["vectors"]) for row in rows] for rows in (reference, generated)]
        fewest, size = min(sum(map(len, sounds)) for sounds in sets), sets[0][0].shape[1]
        if fewest <= size:
            warnings.warn(
                f"FAD compares covariances of {size} numbers by {fewest} vectors only, which cannot fill them: it is "
                "far too large, and only comparable at the same numbers of sounds",
                stacklevel=2,
            )
        return frechet_figure(sets[0], sets[1], self.jackknife)

    @cached_property
    def _encoder(self) -> Listener:
        return load_encoder(str(self.embedder), self.embedder_revision, self.layer, self.device)

    @cached_property
    def _classes(self) -> Listener:
        return Classifier(str(self.classifier), self.classifier_revision, self.device)


def _stem(row: Row) -> str:
    return Path(str(row["file"])).stem


def _doubles(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
