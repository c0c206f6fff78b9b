"""One stage, from pixels to weights. Knows neither MLflow nor grids."""
