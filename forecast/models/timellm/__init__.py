"""Time-LLM: a frozen language model, reprogrammed to forecast."""
