"""Vision-language models: responses to prompts that hold images."""
