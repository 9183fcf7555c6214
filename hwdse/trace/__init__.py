"""From a model to a LayerGraph."""
