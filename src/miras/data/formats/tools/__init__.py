"""Formats of annotation tools: CVAT, Label Studio, Supervisely, YOLO."""
