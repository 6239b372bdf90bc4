"""What models hear, against transformers' own forward passes."""

import pytest
import torch

from modalign.core.errors import UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.tasks.listeners import Classifier, load_encoder, weighted
from tests import sounds
from tests.tiny_audio.clap import clap
from tests.tiny_audio.listeners import RATE, classifier, wav2vec2, whisper

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("listeners")
    for make in (clap, wav2vec2, whisper, classifier):
        make(root / make.__name__)
    return root


def test_an_encoder_is_the_mean_of_its_hidden_states(folder):
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    model = Wav2Vec2Model.from_pretrained(folder / "wav2vec2").eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder / "wav2vec2")
    sound = sounds.tone(300, 0.5, RATE).samples[0]
    with torch.no_grad():
        inputs = extractor(sound.numpy(), sampling_rate=RATE, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
    for layer, expected in ((None, states[2]), (2, states[2]), (1, states[1]), (0, states[0])):
        found = load_encoder(str(folder / "wav2vec2"), None, layer, CPU).hear(sound)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected[0].mean(0).double(), atol=1e-5, rtol=1e-5)
    assert (states[1] - states[2]).abs().max() > 1e-3


def test_of_whisper_the_encoder_hears_and_only_what_sounds(folder):
    from transformers import WhisperFeatureExtractor, WhisperModel

    model = WhisperModel.from_pretrained(folder / "whisper").eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder / "whisper")
    sound = sounds.tone(300, 0.5, RATE).samples[0]
    with torch.no_grad():
        inputs = extractor(sound.numpy(), sampling_rate=RATE, return_tensors="pt")
        states = model.get_encoder()(inputs.input_features).last_hidden_state[0]
    assert states.shape == (100, 8)
    listener = load_encoder(str(folder / "whisper"), None, None, CPU)
    torch.testing.assert_close(listener.hear(sound), states[:25].mean(0).double(), atol=1e-5, rtol=1e-5)
    windows = listener.windows(sounds.tone(300, 5.0, RATE), 10.0)
    assert [len(window) for window in windows] == [2 * RATE, 2 * RATE, RATE]


def test_clap_gives_the_vectors_that_are_compared_to_texts(folder):
    from transformers import ClapModel, ClapProcessor

    model = ClapModel.from_pretrained(folder / "clap").eval()
    processor = ClapProcessor.from_pretrained(folder / "clap")
    sound = sounds.tone(300, 0.5, 48000).samples[0]
    with torch.no_grad():
        inputs = processor(audio=sound.numpy(), sampling_rate=48000, return_tensors="pt")
        expected = model.get_audio_features(**inputs).pooler_output[0]
    listener = load_encoder(str(folder / "clap"), None, None, CPU)
    torch.testing.assert_close(listener.hear(sound), expected.double(), atol=1e-5, rtol=0)
    assert [len(window) for window in listener.windows(sounds.tone(300, 2.4, 48000), 10.0)] == [48000, 48000]


def test_a_classifier_is_its_softmax_and_long_sounds_have_the_mean_by_length(folder):
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder / "classifier").eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder / "classifier")
    clip = sounds.joined(sounds.tone(300, 1.0), sounds.noise(0.5))
    with torch.no_grad():
        expected = [
            model(**extractor(part.numpy(), sampling_rate=RATE, return_tensors="pt")).logits[0].softmax(-1)
            for part in torch.split(clip.samples[0], RATE)
        ]
    listener = Classifier(str(folder / "classifier"), None, CPU)
    windows = listener.windows(clip, 1.0)
    heard = [listener.hear(window) for window in windows]
    assert (heard[0] - heard[1]).abs().max() > 1e-3
    mean = (expected[0] * 1.0 + expected[1] * 0.5) / 1.5
    torch.testing.assert_close(weighted(heard, windows), mean.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["ast", "whisper"])
def test_no_window_is_longer_than_an_extractor_takes(tmp_path, name):
    from transformers import (
        ASTConfig,
        ASTFeatureExtractor,
        ASTForAudioClassification,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForAudioClassification,
    )

    if name == "ast":
        small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        model = ASTForAudioClassification(ASTConfig(**small, max_length=40, num_mel_bins=16, num_labels=3))
        extractor = ASTFeatureExtractor(max_length=40, num_mel_bins=16, sampling_rate=RATE)
    else:
        small = {"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 1, "encoder_ffn_dim": 8}
        model = WhisperForAudioClassification(
            WhisperConfig(**small, num_mel_bins=8, max_source_positions=50, num_labels=3)
        )
        extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=1, sampling_rate=RATE)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    listener = Classifier(str(tmp_path), None, CPU)
    windows = listener.windows(sounds.noise(3.0, RATE), 10.0)
    assert len(windows) > 1
    other = windows[0].clone()
    other[-RATE // 10 :] *= -3  # the end is heard too
    assert not torch.equal(listener.hear(other), listener.hear(windows[0]))


def test_windows_leave_out_scraps_and_are_in_mono_at_the_models_rate(folder):
    listener = Classifier(str(folder / "classifier"), None, CPU)
    lengths = [
        [len(window) / RATE for window in listener.windows(sounds.tone(300, seconds, 8000, channels=2), 1.0)]
        for seconds in (0.2, 1.0, 1.4, 1.5, 2.1)
    ]
    assert lengths == [[0.2], [1.0], [1.0], [1.0, 0.5], [1.0, 1.0]]
    assert torch.isfinite(listener.hear(torch.zeros(1))).all()
    left = listener.windows(sounds.stereo(sounds.tone(300, 0.2), sounds.silence(0.2)), 1.0)[0]
    torch.testing.assert_close(left, sounds.tone(300, 0.2).samples[0] / 2)
    assert Clip(left[None], RATE).seconds == pytest.approx(0.2)


def test_models_that_would_hear_by_chance_and_other_mistakes_are_told(folder, tmp_path):
    with pytest.raises(UserError, match="it would hear by chance"):
        Classifier(str(folder / "wav2vec2"), None, CPU)
    with pytest.raises(UserError, match=r"layer is 3, and .* has 2 layers"):
        load_encoder(str(folder / "wav2vec2"), None, 3, CPU)
    with pytest.raises(UserError, match="come from none"):
        load_encoder(str(folder / "clap"), None, 1, CPU)
    with pytest.raises(UserError, match="no folder"):
        load_encoder(str(tmp_path / "none"), None, None, CPU)
    with pytest.raises(UserError, match="not in the local cache"):
        Classifier("someone/classifier", None, CPU)
    with pytest.raises(UserError, match="tells 1 class"):
        Classifier(str(classifier(tmp_path / "one", classes=1)), None, CPU)
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small, vocab_size=9)).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path / "bert"), None, None, CPU)
