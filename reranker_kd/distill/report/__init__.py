"""What came of a distillation: figures, fidelity, model card."""
