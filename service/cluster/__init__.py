"""How work reaches machines."""
