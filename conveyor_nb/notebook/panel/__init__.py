"""The live panel: what its page shows and asks for."""
