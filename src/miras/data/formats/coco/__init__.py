"""COCO and what stands on its instances: read whole, read as a stream, written; RefCOCO."""
