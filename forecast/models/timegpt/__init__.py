"""TimeGPT, a model that its makers run: what is forecast leaves this machine."""
