"""What the modalities' quickstarts share: options, running a stage of training, intervals, conclusions, printing."""
