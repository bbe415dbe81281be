"""Checkpoints as other libraries read them: open_clip, transformers, PEFT, torch.export, ONNX, and
the Hugging Face Hub.
"""

from grace_geom.exporting.run import FOLDERS, FORMATS, ExportRequest, export_model

__all__ = ["FOLDERS", "FORMATS", "ExportRequest", "export_model"]
