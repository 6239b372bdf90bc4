"""Evaluation tasks that any modality can run."""
