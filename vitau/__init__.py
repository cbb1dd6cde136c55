"""ViTAU: facial palsy from clips of faces: recognised, its regions named, the evidence shown."""

__version__ = "0.1.0"
