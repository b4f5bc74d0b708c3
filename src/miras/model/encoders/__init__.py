"""Image encoders beside our own small one (`model.visual_encoders`): one module a fusion, named in `registry`."""
