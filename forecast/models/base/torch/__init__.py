"""What families whose model is a torch network share; the only files here that import torch."""
