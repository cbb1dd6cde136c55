"""Explanations of recognition beside Grad-CAM, and the evaluation of both on people whose affected regions are known."""
