"""Expected loss increase per layer and width."""
