"""Folders of tiny models that hear sounds: real classes, seeded random weights, no network."""

from pathlib import Path

import torch

_WAVE = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (5, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
RATE = 16000


def wav2vec2(folder: Path) -> Path:
    """A `Wav2Vec2Model` over frames of 40 samples."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(1)
    Wav2Vec2Model(Wav2Vec2Config(**_WAVE)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    return folder


def whisper(folder: Path) -> Path:
    """A `WhisperModel` whose window is two seconds."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(2)
    config = WhisperConfig(
        vocab_size=20,
        num_mel_bins=8,
        d_model=8,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        max_source_positions=100,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2, sampling_rate=RATE).save_pretrained(folder)
    return folder


def classifier(folder: Path, classes: int = 4) -> Path:
    """A `Wav2Vec2ForSequenceClassification` that tells sounds apart clearly."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(3)
    config = Wav2Vec2Config(**_WAVE, num_labels=classes, classifier_proj_size=8)
    model = Wav2Vec2ForSequenceClassification(config)
    for parameter in model.classifier.parameters():
        parameter.data.mul_(20)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    return folder
