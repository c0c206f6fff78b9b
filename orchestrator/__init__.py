"""Which stages, in what order, on what machines."""
