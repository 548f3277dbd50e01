"""Everything that touches torch: models, data, surgery, quantisers and the training loop."""
