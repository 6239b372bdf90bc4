"""Evaluation tasks for models that answer prompts with images."""
