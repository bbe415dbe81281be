"""Curvature, landscapes and representations: functions of functions and tensors that know no
CLIP."""
