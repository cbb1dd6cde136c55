"""Outputs that people hand on: pages, a workbook, an overlay video, a comparison of visits, and a check of a clip."""
