"""How trained networks are used: prediction, Grad-CAM, the registry, the report."""
