"""The bundled model, its images, photographs and the picture to forge, with their card."""
